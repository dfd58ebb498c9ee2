//! Real hellos with one byte changed: whatever they are then, they are it in every delivery.

use sekisho_peek::fuzz::Declared;
use sekisho_peek::tls::{Inspector, Limits, Progress, Refusal, inspect};

use crate::corpus::{Flight, hellos, refused};
use crate::fragments::final_answer_in_pieces;

/// Calls `look` with every mutation: at every place a few values, or with `SEKISHO_LONG` every value.
pub(crate) fn each_mutation(flights: &[Flight], mut look: impl FnMut(&Flight, usize, &[u8])) {
    let all = std::env::var_os("SEKISHO_LONG").is_some();
    for flight in flights {
        let mut bytes = flight.bytes.clone();
        for at in 0..bytes.len() {
            let was = bytes[at];
            let few = [was ^ 1, was ^ 0x80, was.wrapping_add(2), 0];
            for value in (0..=255).filter(|value| *value != was && (all || few.contains(value))) {
                bytes[at] = value;
                look(flight, at, &bytes);
            }
            bytes[at] = was;
        }
    }
}

#[test]
fn a_mutated_byte_neither_panics_nor_waits_for_the_undeclared_nor_depends_on_delivery() {
    let flights: Vec<_> = hellos().into_iter().chain(refused().into_iter().map(|(_, flight)| flight)).collect();
    let mut seen = [0_usize; 3];
    each_mutation(&flights, |flight, at, bytes| {
        let answer = inspect(bytes, &Limits::default());
        let what = || format!("{} with {:#04x} at {at}", flight.file, bytes[at]);
        match &answer {
            Ok(Progress::Need { at_least }) => {
                assert!(*at_least > bytes.len() && *at_least <= Declared::default().total(bytes), "{}", what());
                seen[0] += 1;
            }
            Ok(Progress::Done(_)) => seen[1] += 1,
            Err(_) => seen[2] += 1,
        }
        assert_eq!(in_two(bytes, at), answer, "{}", what());
        assert_eq!(in_two(bytes, at + 1), answer, "{}", what());
        assert_eq!(final_answer_in_pieces(bytes, 61), answer, "{}", what());
    });
    // Longer lengths wait, shorter ones and other structure refuse, and what is inside other fields is not ours.
    assert!(seen.iter().all(|count| *count > 100), "waits, reads, refusals: {seen:?}");
}

fn in_two(bytes: &[u8], end: usize) -> Result<Progress, Refusal> {
    let mut inspector = Inspector::new(Limits::default());
    match inspector.inspect(&bytes[..end]) {
        Ok(Progress::Need { .. }) => inspector.inspect(bytes),
        answer => answer,
    }
}
