//! Names and patterns that open more than they seem to: over domains of many, and those that are taken for AWS's.

use crate::diagnostic::Diagnostic;
use crate::index::Shape;
use crate::load::rule::Draft;
use crate::lookalike;
use crate::suffix::{self, Giver};

impl Draft {
    /// Whether a pattern is over a domain under which anybody can get a name.
    pub(super) fn shared(&mut self, shape: Shape, name: &str, text: &str, in_list: bool) -> Option<Diagnostic> {
        if !matches!(shape, Shape::OneLabel | Shape::Below) {
            return None;
        }
        let shared = suffix::at_or_below(name)?;
        self.acknowledged.shared_suffix.used = true;
        if self.acknowledged.shared_suffix.given {
            return None;
        }
        let whose = match shared.giver {
            Giver::Registry => "a registry's domain",
            Giver::Host => "a domain of shared hosting",
        };
        let covered = if shared.suffix == name { whose.to_owned() } else { format!("`{}`, {whose}", shared.suffix) };
        let message = format!("`{text}` covers {covered}, under which anybody can get a name");
        let rule = self.named(in_list);
        // What the rule accepts already is still needed: over S3's domains, one word does not stand for the other.
        let words = if self.acknowledged.path_style.used { "path_style, shared_suffix" } else { "shared_suffix" };
        Some(Diagnostic::error("shared-suffix", message).help(format!(
            "list the names that are meant; or, if anybody's may be reached, write `acknowledge: [{words}]` and `reason:` in {rule}"
        )))
    }

    /// Whether a reader takes the name for one of AWS's.
    pub(super) fn lookalike(&mut self, name: &str, text: &str, in_list: bool) -> Option<Diagnostic> {
        if !lookalike::of_aws(name) {
            return None;
        }
        self.acknowledged.lookalike.used = true;
        if self.acknowledged.lookalike.given {
            return None;
        }
        let rule = self.named(in_list);
        let message = format!("`{text}` looks like a name of AWS, and is none");
        Some(Diagnostic::error("aws-lookalike", message).help(format!(
            "names of AWS end with `.amazonaws.com`, or `.amazonaws.com.cn` in China; if this one is meant, write `acknowledge: [lookalike]` in {rule}"
        )))
    }

    /// The rule, as seen from what it lists: from a list in another file it needs a name.
    pub(super) fn named(&self, in_list: bool) -> String {
        if in_list { format!("the rule `{}` ({})", self.info.name, self.info.place) } else { "this rule".to_owned() }
    }
}
