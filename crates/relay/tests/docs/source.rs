//! Finds texts in the program's source that no value of it lists.

use crate::page;

/// A source file without its tests.
pub(crate) fn code(path: &str) -> String {
    let text = page::read(path);
    let end = text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..end].to_owned()
}

/// The string literals that stand right behind `token`.
pub(crate) fn literals<'s>(code: &'s str, token: &str) -> Vec<&'s str> {
    let behind = code.match_indices(token).filter_map(|(at, _)| code.get(at + token.len()..));
    behind.filter_map(|rest| rest.strip_prefix('"')?.split_once('"')).map(|(literal, _)| literal).collect()
}

/// Of each `Reason::X` with a string literal behind it, X and the literal.
pub(crate) fn reasons_with_details(code: &str) -> Vec<(&str, &str)> {
    let behind = code.match_indices("Reason::").filter_map(|(at, token)| code.get(at + token.len()..));
    behind
        .filter_map(|rest| {
            let end = rest.find(|c: char| !c.is_alphanumeric())?;
            let (reason, rest) = rest.split_at(end);
            let rest = rest.strip_prefix(',')?.trim_start();
            let rest = rest.strip_prefix("detail: ").unwrap_or(rest);
            let (literal, _) = rest.strip_prefix('"')?.split_once('"')?;
            Some((reason, literal))
        })
        .collect()
}

#[test]
fn details_are_found_beside_their_reasons() {
    let code = r#"Stop::new(Reason::A, "one") Some(X) => (Reason::B, "two"), U { reason: Reason::C, detail: "three" } Reason::D"#;
    assert_eq!(reasons_with_details(code), [("A", "one"), ("B", "two"), ("C", "three")]);
    assert_eq!(literals("Err(\"x\") Err(y) Err(\"z\")", "Err("), ["x", "z"]);
}
