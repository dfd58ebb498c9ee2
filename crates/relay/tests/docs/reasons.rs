//! docs/reasons.md

use std::collections::{BTreeMap, BTreeSet};

use sekisho::guard::Class;
use sekisho::http::status;
use sekisho::outcome::Verdict;
use sekisho::reason::{Alert, Answer, Reason};
use sekisho_name::InvalidName;
use sekisho_peek::tls::retry::Changed;
use sekisho_peek::tls::{Cap, Fault, Obsolete, Refusal};
use sekisho_peek::{http, proxy};

use crate::page::{self, code, headings, rows, section};
use crate::{metrics, source};

type Details = BTreeMap<&'static str, BTreeSet<String>>;

fn page() -> String {
    page::read("docs/reasons.md")
}

#[test]
fn every_reason_has_its_row_and_its_section_and_no_other_has() {
    let labels: Vec<_> = Reason::ALL.iter().map(|reason| reason.label()).collect();
    let page = page();
    let rows: Vec<_> = rows(&page, "Reason").into_iter().map(|row| row[0].clone()).collect();
    let links: Vec<_> = labels.iter().map(|label| format!("[`{label}`](#{label})")).collect();
    assert_eq!(rows, links);
    let sections: BTreeSet<_> = headings(&page, 3).into_iter().collect();
    assert_eq!(sections, labels.into_iter().collect());
}

#[test]
fn verdicts_are_those_that_the_program_counts() {
    let counted = metrics::verdicts_by_reason();
    for row in rows(&page(), "Reason") {
        let label = code(&row[0])[0];
        let documented: BTreeSet<_> = row[1].split(", ").collect();
        let counted = counted.get(label).unwrap_or_else(|| panic!("{label} is never counted"));
        assert_eq!(documented, counted.iter().map(String::as_str).collect(), "{label}");
    }
}

#[test]
fn clients_get_what_the_page_says() {
    for (row, &reason) in rows(&page(), "Reason").iter().zip(Reason::ALL) {
        let served = Verdict::of(reason) == Verdict::Refused && row[1] == "audited";
        let expected = match reason.answer() {
            _ if served => "its connection".to_owned(),
            _ if reason == Reason::Malformed => format!("alert {}, by its fault", listed(&fault_alerts())),
            Answer::Alert(alert) => {
                // What the policy refuses, and nothing else, gets the alert that the settings choose.
                let chosen =
                    matches!(reason, Reason::NoRule | Reason::DeniedByRule | Reason::RuleExpired | Reason::EchDenied);
                format!("alert {} `{}`{}", alert.0, name(alert), if chosen { " *" } else { "" })
            }
            Answer::Http(_) => format!("status {}", status(reason).0),
            Answer::Reset => "reset".to_owned(),
            Answer::Nothing if reason == Reason::Probe => "nothing, or what it would get otherwise".to_owned(),
            Answer::Nothing => "nothing: it has gone".to_owned(),
        };
        assert_eq!(row[2], expected, "{}", reason.label());
    }
}

#[test]
fn clients_that_speak_http_get_the_status_that_the_page_says() {
    let page = page();
    let rows = rows(section(&page, 2, "Clients that speak HTTP"), "Status");
    let documented: BTreeMap<_, _> =
        rows.iter().flat_map(|row| code(&row[1]).into_iter().map(|label| (label.to_owned(), row[0].clone()))).collect();
    for &reason in Reason::ALL {
        // What an alert tells to others, a status tells to these.
        let told = matches!(reason.answer(), Answer::Alert(_) | Answer::Http(_));
        let of_hellos = refusals().iter().any(|refusal| refusal.label() == reason.label());
        let never = of_hellos || matches!(reason, Reason::AuditRule | Reason::EchDenied | Reason::SniMismatch);
        let expected = (told && !never).then(|| {
            let (status, phrase, _) = status(reason);
            format!("{status} {phrase}")
        });
        assert_eq!(documented.get(reason.label()).cloned(), expected, "{}", reason.label());
    }
}

#[test]
fn a_refused_hello_gets_its_reasons_alert() {
    for refusal in refusals() {
        let reason = Reason::ALL.iter().find(|reason| reason.label() == refusal.label()).expect("a reason");
        let alert = refusal.alert().map_or(Answer::Reset, |alert| Answer::Alert(Alert(alert)));
        if *reason != Reason::Malformed {
            assert_eq!(alert, reason.answer(), "{refusal:?}");
        }
    }
}

#[test]
fn every_fault_of_a_malformed_hello_has_its_alert() {
    let page = page();
    let rows = rows(section(&page, 3, "malformed"), "Detail");
    let documented: BTreeSet<_> = rows.iter().map(|row| (code(&row[0])[0].to_owned(), row[1].clone())).collect();
    let known = faults().into_iter().map(|fault| {
        let refusal = Refusal::Malformed(fault);
        let alert = Alert(refusal.alert().expect("an alert"));
        (refusal.detail().to_owned(), format!("{} `{}`", alert.0, name(alert)))
    });
    assert_eq!(documented, known.collect());
}

#[test]
fn every_detail_that_the_program_can_give_is_listed_and_no_other_is() {
    let known = details();
    let page = page();
    for reason in Reason::ALL {
        let label = reason.label();
        if *reason == Reason::Malformed {
            continue;
        }
        // A bullet that begins with "Detail", with the lines that go on with it.
        let bullets = section(&page, 3, label).split("\n- ").filter(|bullet| bullet.trim().starts_with("Detail"));
        // The cause behind a detail may name a key of the configuration.
        let texts = bullets.flat_map(code).filter(|text| !text.starts_with("timeouts."));
        let mut documented: BTreeSet<String> = texts.map(str::to_owned).collect();
        if section(&page, 3, label).contains("\n- Detail: none") {
            documented.clear();
        }
        assert_eq!(documented, known.get(label).cloned().unwrap_or_default(), "{label}");
    }
}

/// What the program can say of each reason.
fn details() -> Details {
    let mut details = Details::new();
    let mut add = |label: &'static str, text: &str| {
        details.entry(label).or_default().insert(text.to_owned());
    };
    for refusal in refusals() {
        add(refusal.label(), refusal.detail());
    }
    for class in classes() {
        add("forbidden_address", class.label());
    }
    let relay = |file: &str| source::code(&format!("crates/relay/src/{file}.rs"));
    let files = [
        "accept",
        "arrive",
        "ask",
        "ask/http",
        "ask/tls",
        "connection",
        "decide",
        "dial",
        "lookup",
        "mismatch",
        "stop",
        "worker",
    ];
    for file in files {
        for (variant, text) in source::reasons_with_details(&relay(file)) {
            let reason = Reason::ALL.iter().find(|reason| format!("{reason:?}") == variant).expect("a reason");
            add(reason.label(), text);
        }
    }
    for refusal in http_refusals() {
        add(refusal.label(), refusal.detail());
    }
    for refusal in proxy_refusals() {
        add(refusal.label(), refusal.detail());
    }
    for changed in changes() {
        add(changed.label(), changed.detail());
    }
    for file in ["arrive", "ask/http", "ask/tls"] {
        for token in ["closed: ", "broken: "] {
            for text in source::literals(&relay(file), token) {
                add("client_closed", text);
            }
        }
        for text in source::literals(&relay(file), "late: ") {
            add("hello_timeout", text);
        }
    }
    let lookup = relay("lookup");
    for token in ["Some(", "unwrap_or("] {
        for text in source::literals(&lookup, token) {
            add("forbidden_address", text);
        }
    }
    for text in source::literals(&lookup, "Failed(") {
        add("dns_failed", text);
    }
    for file in ["driver", "lib", "lookup", "message", "upstream"] {
        let code = source::code(&format!("crates/resolve/src/{file}.rs"));
        for token in ["Err(", "Failed(", "=> ", "= ", "|_| "] {
            for text in source::literals(&code, token) {
                add("dns_failed", text);
            }
        }
    }
    details
}

fn fault_alerts() -> BTreeSet<u8> {
    faults().into_iter().filter_map(|fault| Refusal::Malformed(fault).alert()).collect()
}

/// "1, 2 or 3".
fn listed(numbers: &BTreeSet<u8>) -> String {
    let mut words: Vec<_> = numbers.iter().map(u8::to_string).collect();
    let last = words.pop().expect("an alert");
    format!("{} or {last}", words.join(", "))
}

/// RFC 8446 §6, RFC 5246 §7.2.
fn name(alert: Alert) -> &'static str {
    match alert {
        Alert::UNEXPECTED_MESSAGE => "unexpected_message",
        Alert::RECORD_OVERFLOW => "record_overflow",
        Alert::ILLEGAL_PARAMETER => "illegal_parameter",
        Alert::ACCESS_DENIED => "access_denied",
        Alert::DECODE_ERROR => "decode_error",
        Alert::PROTOCOL_VERSION => "protocol_version",
        Alert::INTERNAL_ERROR => "internal_error",
        Alert::MISSING_EXTENSION => "missing_extension",
        Alert::UNRECOGNIZED_NAME => "unrecognized_name",
        Alert(other) => panic!("alert {other} has no name here"),
    }
}

/// Each value of an enumeration, by naming what follows each: a new variant does not compile until it has its place.
fn chain<T: Copy>(first: T, next: impl Fn(T) -> Option<T>) -> Vec<T> {
    std::iter::successors(Some(first), |&value| next(value)).collect()
}

fn refusals() -> Vec<Refusal> {
    let mut all = chain(Refusal::NoSni, |refusal| match refusal {
        Refusal::NoSni => Some(Refusal::DuplicateExtension(0)),
        Refusal::DuplicateExtension(0) => Some(Refusal::DuplicateExtension(1)),
        Refusal::DuplicateExtension(_) => Some(Refusal::MultipleNames),
        Refusal::MultipleNames => Some(Refusal::HelloTooLarge(Cap::Handshake)),
        Refusal::HelloTooLarge(Cap::Handshake) => Some(Refusal::HelloTooLarge(Cap::Raw)),
        Refusal::HelloTooLarge(Cap::Raw) => Some(Refusal::ObsoleteProtocol(Obsolete::Ssl2)),
        Refusal::ObsoleteProtocol(Obsolete::Ssl2) => Some(Refusal::ObsoleteProtocol(Obsolete::Version(0x0300))),
        Refusal::ObsoleteProtocol(Obsolete::Version(0x0300)) => {
            Some(Refusal::ObsoleteProtocol(Obsolete::Version(0x0002)))
        }
        Refusal::ObsoleteProtocol(Obsolete::Version(_)) => Some(Refusal::NotTls),
        // These have lists of their own.
        Refusal::NotTls | Refusal::Malformed(_) | Refusal::InvalidName(_) => None,
    });
    all.extend(faults().into_iter().map(Refusal::Malformed));
    all.extend(invalid_names().into_iter().map(Refusal::InvalidName));
    all
}

fn http_refusals() -> Vec<http::Refusal> {
    use http::Fault::{
        BareCr, BareLf, Body, Connection, ContentLength, Control, Folded, HeadTooLarge, HeaderLine, Host, HostsDiffer,
        LookAlike, NoHost, RequestLine, SeveralContentLengths, SeveralHosts, TargetByte, TargetForm, TransferEncoding,
        Version,
    };
    let faults = chain(HeadTooLarge, |fault| match fault {
        HeadTooLarge => Some(RequestLine),
        RequestLine => Some(Version),
        Version => Some(BareCr),
        BareCr => Some(BareLf),
        BareLf => Some(Folded),
        Folded => Some(Control),
        Control => Some(HeaderLine),
        HeaderLine => Some(TargetForm),
        TargetForm => Some(TargetByte),
        TargetByte => Some(NoHost),
        NoHost => Some(SeveralHosts),
        SeveralHosts => Some(Host),
        Host => Some(HostsDiffer),
        HostsDiffer => Some(ContentLength),
        ContentLength => Some(SeveralContentLengths),
        SeveralContentLengths => Some(TransferEncoding),
        TransferEncoding => Some(Body),
        Body => Some(Connection),
        Connection => Some(LookAlike),
        LookAlike => None,
    });
    faults.into_iter().map(http::Refusal::Bad).chain([http::Refusal::Target]).collect()
}

fn proxy_refusals() -> Vec<proxy::Refusal> {
    use proxy::Fault::{
        Address, Character, Checksum, Command, Endpoint, Family, Length, LineTooLong, Port, Protocol, TooLong, Values,
        Version, Words,
    };
    let faults = chain(LineTooLong, |fault| match fault {
        LineTooLong => Some(Character),
        Character => Some(Protocol),
        Protocol => Some(Words),
        Words => Some(Address),
        Address => Some(Port),
        Port => Some(Version),
        Version => Some(Command),
        Command => Some(Family),
        Family => Some(Length),
        Length => Some(TooLong),
        TooLong => Some(Values),
        Values => Some(Checksum),
        Checksum => Some(Endpoint),
        Endpoint => None,
    });
    faults.into_iter().map(proxy::Refusal::Malformed).chain([proxy::Refusal::Missing]).collect()
}

fn changes() -> Vec<Changed> {
    let name = sekisho_name::Name::parse("a.example").expect("a name");
    let all = [
        Changed::Name(name),
        Changed::Ech,
        Changed::NoHello(Refusal::NotTls),
        Changed::Record,
        Changed::TooMuch,
        Changed::Ended,
    ];
    // A new one does not compile until it has its place.
    for changed in &all {
        match changed {
            Changed::Name(_)
            | Changed::Ech
            | Changed::NoHello(_)
            | Changed::Record
            | Changed::TooMuch
            | Changed::Ended => {}
        }
    }
    all.into()
}

fn invalid_names() -> Vec<InvalidName> {
    use InvalidName::{Character, Empty, EmptyLabel, HyphenAtEdge, IpAddress, LabelTooLong, TooLong, TrailingDot};
    chain(Empty, |why| match why {
        Empty => Some(TooLong),
        TooLong => Some(EmptyLabel),
        EmptyLabel => Some(LabelTooLong),
        LabelTooLong => Some(HyphenAtEdge),
        HyphenAtEdge => Some(TrailingDot),
        TrailingDot => Some(Character(b'!')),
        Character(_) => Some(IpAddress),
        IpAddress => None,
    })
}

fn faults() -> Vec<Fault> {
    use Fault::{
        AfterHello, Alpn, CipherSuites, Compression, EmptyHostName, EmptyRecord, ExtensionLength, ExtensionsLength,
        NameType, NoServerName, NotClientHello, NotHandshake, RecordOverflow, RecordVersion, ServerNameLength,
        SessionId, SupportedVersions, Truncated,
    };
    chain(NotHandshake, |fault| match fault {
        NotHandshake => Some(EmptyRecord),
        EmptyRecord => Some(RecordOverflow),
        RecordOverflow => Some(RecordVersion),
        RecordVersion => Some(NotClientHello),
        NotClientHello => Some(AfterHello),
        AfterHello => Some(Truncated),
        Truncated => Some(SessionId),
        SessionId => Some(CipherSuites),
        CipherSuites => Some(Compression),
        Compression => Some(ExtensionsLength),
        ExtensionsLength => Some(ExtensionLength),
        ExtensionLength => Some(ServerNameLength),
        ServerNameLength => Some(NoServerName),
        NoServerName => Some(NameType),
        NameType => Some(EmptyHostName),
        EmptyHostName => Some(SupportedVersions),
        SupportedVersions => Some(Alpn),
        Alpn => None,
    })
}

fn classes() -> Vec<Class> {
    use Class::{CarrierGradeNat, Loopback, Never, Private, Public, Reserved, Translated, UniqueLocal};
    chain(Public, |class| match class {
        Public => Some(Loopback),
        Loopback => Some(Private),
        Private => Some(CarrierGradeNat),
        CarrierGradeNat => Some(UniqueLocal),
        UniqueLocal => Some(Reserved),
        Reserved => Some(Translated),
        Translated => Some(Never),
        Never => None,
    })
}
