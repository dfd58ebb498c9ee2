//! The names for which two policies differ, as few sets as there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use sekisho_name::Name;

use crate::explain::covers;
use crate::index::Shape;
use crate::pattern;
use crate::policy::Policy;
use crate::space::Space;
use crate::space::regions::{Region, Regions, around, made_by};

/// A set of names: what a pattern covers, but for some that others cover.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Names {
    /// What they are.
    pub of: Set,
    /// What of it they are not.
    pub except: Vec<Set>,
    /// One of them.
    pub witness: String,
}

/// What a pattern covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Set {
    /// Every name.
    Every,
    /// This one, or what the pattern says, as it is written in a policy: `x`, `*.x`, `.x`, `*-…-an.x`.
    Pattern(String),
    /// All that lies below a domain, the domain itself aside.
    Below(String),
}

impl Set {
    /// Whether a name is in it.
    fn holds(&self, name: &str) -> bool {
        match self {
            Self::Every => true,
            Self::Below(domain) => name != domain && covers(Shape::Below, domain, name),
            Self::Pattern(pattern) => {
                let (shape, text) =
                    match (pattern.strip_prefix("*."), pattern.strip_prefix('.'), pattern.strip_prefix('*')) {
                        (Some(rest), ..) => (Shape::OneLabel, rest),
                        (_, Some(rest), _) => (Shape::Below, rest),
                        (.., Some(rest)) => (Shape::Ending, rest),
                        _ => (Shape::Exact, pattern.as_str()),
                    };
                covers(shape, text, name)
            }
        }
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every => f.write_str("every name"),
            Self::Pattern(pattern) => f.write_str(pattern),
            Self::Below(domain) => write!(f, "all below {domain}"),
        }
    }
}

impl Names {
    /// Whether a name is among them.
    pub fn hold(&self, name: &str) -> bool {
        self.of.holds(name) && !self.except.iter().any(|except| except.holds(name))
    }
}

/// Behaviours before and after; `None` where they are one.
type Delta = Option<(u32, u32)>;

/// A region's difference, and the regions in it that differ otherwise.
type Head<'a> = (Delta, Vec<(Shape, &'a str)>);

/// Two policies over one space.
struct Both<'a> {
    old: Regions<'a>,
    new: Regions<'a>,
    space: &'a mut Space,
}

impl<'a> Both<'a> {
    /// How a region differs, and how what is around it does.
    fn deltas(&mut self, shape: Shape, name: &'a str) -> (Delta, Delta) {
        let (old, old_around) = self.old.pair(self.space, shape, name);
        let (new, new_around) = self.new.pair(self.space, shape, name);
        (delta(old, new), delta(old_around, new_around))
    }

    /// How a name differs that no policy holds.
    fn delta_of_name(&mut self, name: &str) -> Delta {
        delta(self.old.behaviour_of_name(self.space, name), self.new.behaviour_of_name(self.space, name))
    }
}

fn delta(old: u32, new: u32) -> Delta {
    (old != new).then_some((old, new))
}

/// The names that differ, by their behaviours before and after.
pub(super) fn differing<'a>(
    old: &'a Policy,
    new: &'a Policy,
    space: &'a mut Space,
) -> BTreeMap<(u32, u32), Vec<Names>> {
    let mut both = Both { old: Regions::new(old), new: Regions::new(new), space };
    // Regions whose difference is not that of the names around them; the others belong to what is around.
    let mut heads: HashMap<Region<'a>, Head<'a>> = HashMap::new();
    let root = delta(both.old.root(both.space), both.new.root(both.space));
    heads.insert(None, (root, Vec::new()));
    let mut inner = Vec::new();
    for index in [&old.index, &new.index] {
        for entry in 0..index.len() {
            for (shape, name) in made_by(index, entry) {
                let (delta, outer) = both.deltas(shape, name);
                if delta != outer && heads.insert(Some((shape, name)), (delta, Vec::new())).is_none() {
                    inner.push((shape, name));
                }
            }
        }
    }
    // Each is an exception of the next one around it that is there.
    for &(shape, name) in &inner {
        let mut outer = around(shape, name);
        while outer.is_some_and(|region| !heads.contains_key(&Some(region))) {
            outer = outer.and_then(|(shape, name)| around(shape, name));
        }
        if let Some((Some(_), except)) = heads.get_mut(&outer) {
            except.push((shape, name));
        }
    }
    let mut found: BTreeMap<(u32, u32), Vec<Names>> = BTreeMap::new();
    for region in std::iter::once(None).chain(inner.iter().copied().map(Some)) {
        let Some((Some(delta), except)) = heads.get(&region) else { continue };
        let own = |other: Region<'a>| heads.get(&other).is_some_and(|(other, _)| *other == Some(*delta));
        let mut except: Vec<(Shape, &str)> = except.clone();
        let mut of = match region {
            None => Set::Every,
            Some((shape, name)) => spelled(shape, name),
        };
        match region {
            // `.x` is both: told once, with what is below.
            Some((Shape::Exact, name)) if own(Some((Shape::Below, name))) => continue,
            Some((Shape::Below, name)) if own(Some((Shape::Exact, name))) => {
                of = Set::Pattern(pattern::spell(Shape::Below, name));
                except.retain(|region| *region != (Shape::Exact, name));
            }
            _ => {}
        }
        let itself = match (&of, region) {
            (Set::Pattern(_), Some((Shape::Below, name))) => Some(name.to_owned()),
            _ => None,
        };
        // Where nothing is left of a region by all its exceptions, it is no region.
        if let Some(witness) = itself.or_else(|| witness(&mut both, region, Some(*delta))) {
            found.entry(*delta).or_default().push(Names { of, except: folded(&except), witness });
        }
    }
    found
}

fn spelled(shape: Shape, name: &str) -> Set {
    match shape {
        Shape::Below => Set::Below(name.to_owned()),
        _ => Set::Pattern(pattern::spell(shape, name)),
    }
}

/// Exceptions, sorted, with `x` and all below `x` as `.x`.
fn folded(regions: &[(Shape, &str)]) -> Vec<Set> {
    let all: BTreeSet<(Shape, &str)> = regions.iter().copied().collect();
    let kept = all.iter().filter(|(shape, name)| *shape != Shape::Exact || !all.contains(&(Shape::Below, *name)));
    let spelled = kept.map(|&(shape, name)| {
        let both = shape == Shape::Below && all.contains(&(Shape::Exact, name));
        if both { Set::Pattern(pattern::spell(Shape::Below, name)) } else { spelled(shape, name) }
    });
    let mut spelled: Vec<Set> = spelled.collect();
    spelled.sort();
    spelled
}

/// A name of a region that differs as the region does. A listed name is its own; for others short labels are tried until
/// one is free, which is one of the first unless nearly all are listed.
fn witness(both: &mut Both<'_>, region: Region<'_>, delta: Delta) -> Option<String> {
    let (shape, name) = match region {
        None => (Shape::Below, ""),
        Some((Shape::Exact, name)) => return Some(name.to_owned()),
        Some(region) => region,
    };
    let tries = 2 + both.old.entries() + both.new.entries();
    for label in labels().take(tries) {
        let name = match (shape, name) {
            (_, "") => label.clone(),
            (Shape::Ending, _) => format!("{label}{name}"),
            _ => format!("{label}.{name}"),
        };
        let deeper = (shape == Shape::Below).then(|| format!("{label}.{name}"));
        for name in [Some(name), deeper].into_iter().flatten() {
            if Name::parse(&name).is_ok() && both.delta_of_name(&name) == delta {
                return Some(name);
            }
        }
        if label.len() > 6 {
            break;
        }
    }
    None
}

/// `any`, then every label of letters and digits, the shortest first.
fn labels() -> impl Iterator<Item = String> {
    const DIGITS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let spelled = (1_u64..).map(|number| {
        let (mut rest, mut label) = (number, Vec::new());
        while rest > 0 {
            rest -= 1;
            label.extend(usize::try_from(rest % 36).ok().and_then(|digit| DIGITS.get(digit)));
            rest /= 36;
        }
        String::from_utf8_lossy(&label).into_owned()
    });
    std::iter::once("any".to_owned()).chain(spelled)
}
