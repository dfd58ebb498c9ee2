//! Writes an access log as the gate would, of so many megabytes, for measuring:
//! `cargo run --release -p sekisho-journal --example generate -- 1000 > access.jsonl`
//!
//! A few hundred buckets and hosts, two thousand clients, most of them allowed. Every run writes the same.

use std::io::{self, BufWriter, Write};

fn main() -> io::Result<()> {
    let megabytes: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10);
    let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    let (mut random, mut written, mut conn) = (0x9e37_79b9_7f4a_7c15_u64, 0, 0x9f3c_1a55_0000_0000_u64);
    while written < megabytes * 1_000_000 {
        // xorshift64: enough for a spread, the same everywhere.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        conn += 1;
        let (client, name) = (random % 2_000, random / 2_000 % 400);
        let region = if name % 3 == 0 { "us-east-1" } else { "ap-northeast-1" };
        let host = match name % 10 {
            0 => format!("api-{name}.partner.example"),
            1 => format!("bucket-{name}.s3.amazonaws.com"),
            _ => format!("bucket-{name}.s3.{region}.amazonaws.com"),
        };
        let outcome = match random >> 32 & 15 {
            0..=10 => format!(r#""verdict":"allowed","rule":"rule-{name}""#),
            11..=13 => r#""verdict":"audited","reason":"no_rule""#.to_owned(),
            _ => r#""verdict":"refused","reason":"no_rule""#.to_owned(),
        };
        let second = 1_795_000_000 + i64::try_from(conn & 0xff_ffff).unwrap_or(0) / 40;
        let time = jiff::Timestamp::from_second(second).unwrap_or_default();
        let (up, down, micros) = (random >> 20 & 0xffff, random >> 30 & 0xf_ffff, random >> 40 & 0xf_ffff);
        let line = format!(
            "{{\"time\":\"{time}\",\"event\":\"close\",\"conn\":\"{conn:016x}\",\"listener\":\"0.0.0.0:8443\",\"protocol\":\"tls\",\
             \"client\":\"10.20.{}.{}:{}\",\"original_dst\":\"52.219.0.12:443\",\"host\":\"{host}\",\"port\":443,{outcome},\
             \"upstream\":\"52.219.136.40:443\",\"bytes_up\":{up},\"bytes_down\":{down},\"duration_ms\":{}.{:03},\"dns_ms\":0.004,\
             \"connect_ms\":2.113,\"closed_by\":\"client\",\"alpn\":[\"h2\",\"http/1.1\"],\"tls_versions\":[\"0x0304\",\"0x0303\"],\
             \"ech\":false}}\n",
            client / 250,
            client % 250,
            1024 + random % 60_000,
            micros / 1000,
            micros % 1000,
        );
        written += line.len() as u64;
        out.write_all(line.as_bytes())?;
    }
    out.flush()
}
