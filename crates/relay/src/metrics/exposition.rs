//! The text that Prometheus reads, made from the counters at each scrape.

use prometheus::core::Collector;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram as Sampled, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};
use sekisho_resolve::{LookupResult, Resolver};

use super::catalogue::{self as known, Described};
use super::{Histogram, Metrics, Shard};
use crate::outcome::{DstMatches, Verdict};
use crate::policy_store::{PolicyStore, ReloadResult};
use crate::reason::Reason;
use crate::settings::Limits;
use crate::sources::Sources;

/// What a scrape asks besides the workers' counters.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The policy in force.
    pub policy: &'a PolicyStore,
    /// The resolver.
    pub resolver: Option<&'a Resolver>,
    /// The caps.
    pub limits: &'a Limits,
    /// What is dialled from.
    pub sources: &'a Sources,
    /// Access log records lost.
    pub lost: u64,
    /// Whether this node should get traffic.
    pub ready: bool,
}

impl Metrics {
    /// Everything, in Prometheus's text format.
    pub fn render(&self, facts: &Facts<'_>) -> Result<String, prometheus::Error> {
        let mut families = self.families(facts);
        families.extend(process());
        families.retain(|family| !family.get_metric().is_empty());
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }

    /// The families of the catalogue, in its order.
    pub(super) fn families(&self, facts: &Facts<'_>) -> Vec<MetricFamily> {
        let active = facts.policy.current();
        let mut out = vec![self.connections(), self.open_connections(), self.destinations()];
        out.push(one(known::CONNECTIONS_LIMIT, number(facts.limits.connections)));
        out.push(one(known::CLIENT_LIMIT, number(facts.limits.connections_per_client)));
        out.extend(descriptors());
        let exhausted = facts.sources.used().map(|source| {
            let address = source.address().map(|address| address.to_string()).unwrap_or_default();
            value(known::SOURCE_EXHAUSTED, &[&address], float(source.exhausted()))
        });
        out.push(family(known::SOURCE_EXHAUSTED, exhausted));
        let ways = [("up", self.sum(Shard::bytes_up)), ("down", self.sum(Shard::bytes_down))];
        out.push(family(known::BYTES, ways.map(|(way, bytes)| value(known::BYTES, &[way], float(bytes)))));

        let uses: Vec<_> = active.uses().collect();
        let bytes = uses.iter().flat_map(|(rule, used)| {
            let (up, down) = used.bytes();
            [("up", up), ("down", down)].map(|(way, n)| value(known::RULE_BYTES, &[rule, way], float(n)))
        });
        out.push(family(known::RULE_BYTES, bytes));
        let decisions = uses.iter().flat_map(|(rule, used)| {
            Verdict::ALL
                .iter()
                .map(|&verdict| value(known::RULE_DECISIONS, &[rule, verdict.label()], float(used.decisions(verdict))))
        });
        out.push(family(known::RULE_DECISIONS, decisions));

        out.push(histogram(known::HELLO, &self.merged(|shard| &shard.hello)));
        out.push(histogram(known::CONNECT, &self.merged(|shard| &shard.connect)));
        let lookups = LookupResult::ALL.iter().map(|&result| {
            let count = facts.resolver.map_or(0, |resolver| resolver.stats().lookups(result));
            value(known::DNS_LOOKUPS, &[result.label()], float(count))
        });
        out.push(family(known::DNS_LOOKUPS, lookups));
        out.push(histogram(known::DNS_SECONDS, &self.dns.0));

        let reloads = ReloadResult::ALL
            .iter()
            .map(|&result| value(known::RELOADS, &[result.label()], float(facts.policy.reloads(result))));
        out.push(family(known::RELOADS, reloads));
        out.push(family(known::POLICY_INFO, [value(known::POLICY_INFO, &[active.policy.digest()], 1.0)]));
        out.push(one(known::POLICY_RULES, number(active.policy.rules().len())));
        let expiring = active.policy.rules().iter().filter_map(|rule| Some((&*rule.name, rule.expires?)));
        let expiries = expiring.map(|(rule, last)| value(known::RULE_EXPIRES, &[rule], seconds(last)));
        out.push(family(known::RULE_EXPIRES, expiries));
        out.push(one(known::POLICY_DIFFERS, flag(facts.policy.differs())));
        out.push(one(known::LOST, float(facts.lost)));
        out.push(one(known::READY, flag(facts.ready)));
        out.push(family(known::BUILD, [value(known::BUILD, &[env!("CARGO_PKG_VERSION")], 1.0)]));
        out
    }

    fn connections(&self) -> MetricFamily {
        let mut samples = Vec::new();
        for (index, listener) in self.listeners.iter().enumerate() {
            for &verdict in Verdict::ALL {
                for reason in std::iter::once(None).chain(Reason::ALL.iter().copied().map(Some)) {
                    let count = self.sum(|shard| shard.ended(index, verdict, reason));
                    // From the start on where it can happen, so that a first refusal is an increase and not a new series.
                    if count > 0 || expected(verdict, reason) {
                        let labels = [&**listener, verdict.label(), reason.map_or("", Reason::label)];
                        samples.push(value(known::CONNECTIONS, &labels, float(count)));
                    }
                }
            }
        }
        family(known::CONNECTIONS, samples)
    }

    fn destinations(&self) -> MetricFamily {
        let samples = self.listeners.iter().enumerate().flat_map(|(index, listener)| {
            DstMatches::ALL.iter().map(move |&matches| {
                let count = self.sum(|shard| shard.destinations(index, matches));
                value(known::DESTINATIONS, &[listener, matches.label()], float(count))
            })
        });
        family(known::DESTINATIONS, samples)
    }

    fn open_connections(&self) -> MetricFamily {
        let samples = self.listeners.iter().enumerate();
        family(known::ACTIVE, samples.map(|(i, name)| value(known::ACTIVE, &[name], float(self.active(i)))))
    }
}

/// Whether a connection can end with this verdict for this reason.
fn expected(verdict: Verdict, reason: Option<Reason>) -> bool {
    use Reason::{AuditRule, DeniedByRule, DestinationMismatch, EchDenied, ForbiddenAddress, NoRule, RuleExpired};
    match (verdict, reason) {
        (Verdict::Allowed, reason) => reason.is_none(),
        (_, None) | (Verdict::Refused | Verdict::Failed, Some(AuditRule)) => false,
        (Verdict::Audited, Some(reason)) => matches!(
            reason,
            AuditRule | DeniedByRule | DestinationMismatch | EchDenied | ForbiddenAddress | NoRule | RuleExpired
        ),
        (verdict, Some(reason)) => verdict == Verdict::of(reason),
    }
}

/// What this process has open, and may.
fn descriptors() -> Vec<MetricFamily> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    // Without the one that the looking takes.
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |open| open.count().saturating_sub(1));
    vec![one(known::DESCRIPTORS_LIMIT, limit.map_or(f64::INFINITY, float)), one(known::DESCRIPTORS, number(open))]
}

fn process() -> Vec<MetricFamily> {
    prometheus::process_collector::ProcessCollector::for_self().collect()
}

fn family(of: Described, samples: impl IntoIterator<Item = Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(of.name.to_owned());
    family.set_help(of.help.to_owned());
    family.set_field_type(of.kind);
    family.set_metric(samples.into_iter().collect());
    family
}

fn one(of: Described, sample: f64) -> MetricFamily {
    family(of, [value(of, &[], sample)])
}

fn value(of: Described, labels: &[&str], sample: f64) -> Metric {
    debug_assert_eq!(of.labels.len(), labels.len(), "labels of {}", of.name);
    let pairs = of.labels.iter().zip(labels).map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    let mut metric = Metric::from_label(pairs.collect());
    if of.kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(sample);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(sample);
        metric.set_gauge(gauge);
    }
    metric
}

fn histogram(of: Described, counts: &Histogram) -> MetricFamily {
    let buckets = counts.cumulative().into_iter().map(|(bound, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(count);
        bucket
    });
    let mut sampled = Sampled::default();
    sampled.set_bucket(buckets.collect());
    sampled.set_sample_count(counts.count());
    sampled.set_sample_sum(counts.sum());
    let mut metric = Metric::default();
    metric.set_histogram(sampled);
    family(of, [metric])
}

fn flag(set: bool) -> f64 {
    if set { 1.0 } else { 0.0 }
}

fn number(count: usize) -> f64 {
    float(count as u64)
}

/// A time, exact for the next 285 million years.
#[expect(clippy::cast_precision_loss, reason = "Prometheus's values are floats")]
fn seconds(unix: i64) -> f64 {
    unix as f64
}

/// Prometheus counts in floats: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "Prometheus's values are floats")]
fn float(count: u64) -> f64 {
    count as f64
}
