//! The policies for AWS, put to programs that are none of ours: a linter (parliament), and an evaluator of requests
//! (iam-simulate), over what must be let through and what must not.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sekisho_policy::Policy;
use sekisho_policy::export::aws::{self, BucketPolicy, Scope, Stage};
use serde_json::{Value, json};

/// 2026-11-24 12:00:00 UTC.
const NOW: i64 = 1_795_521_600;

const OURS: &str = "123456789012";
const THEIRS: &str = "999999999999";
const APP: &str = "arn:aws:iam::123456789012:role/app";
const MALLORY: &str = "arn:aws:iam::999999999999:user/mallory";
const BREAK_GLASS: &str = "arn:aws:iam::123456789012:role/break-glass";
const ENDPOINT: &str = "vpce-0a1b2c3d4e5f67890";

fn policy() -> Policy {
    let text = "version: 1
rules:
  - { name: reports, clients: [10.20.0.0/16], buckets: [{ name: reports, region: ap-northeast-1 }] }
  - { name: reference, access: [read, list], buckets: [{ name: reference-data, region: ap-northeast-1 }] }
  - { name: not that one, action: deny, buckets: [{ name: secret-123456789012-ap-northeast-1-an, region: ap-northeast-1 }] }
  - { name: all of ours, buckets: [{ name: '*-123456789012-ap-northeast-1-an', region: ap-northeast-1 }] }
  - { name: point, access: [read], hosts: [ap-123456789012.s3-accesspoint.ap-northeast-1.amazonaws.com] }
  - { name: gone, expires: 2026-11-23, buckets: [{ name: last-year, region: ap-northeast-1 }] }
  - include: { set: aws:ssm, region: ap-northeast-1, upstream: [10.0.0.0/8] }
";
    Policy::parse("p.yaml", text, NOW).unwrap().policy
}

fn scope(accounts: &[&str]) -> Scope {
    Scope { now: NOW, accounts: accounts.iter().map(|account| account.parse().unwrap()).collect(), ..Scope::default() }
}

fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn endpoint_policy(accounts: &[&str], exempt: &[&str]) -> Value {
    let exempt: Vec<_> = exempt.iter().map(|arn| arn.parse().unwrap()).collect();
    document(&aws::endpoint_policy(&policy(), &scope(accounts), &exempt).unwrap().text)
}

fn identity_policy() -> Value {
    document(&aws::identity_policy(&policy(), &scope(&[OURS]), &[ENDPOINT.parse().unwrap()]).unwrap().text)
}

fn bucket_policy(bucket: &str, stage: Stage) -> Value {
    let wanted = BucketPolicy {
        bucket: bucket.parse().unwrap(),
        endpoints: vec![ENDPOINT.parse().unwrap()],
        stage,
        exempt: vec![BREAK_GLASS.parse().unwrap()],
    };
    document(&aws::bucket_policy(&policy(), &scope(&[]), &wanted).unwrap().text)
}

fn sources() -> Stage {
    Stage::Source(vec!["203.0.113.0/24".parse().unwrap(), "2001:db8:5::/48".parse().unwrap()])
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// What a program prints for these lines, line by line.
fn asked(mut program: Command, lines: &[String]) -> Vec<String> {
    let text = format!("{}\n", lines.join("\n"));
    let shown = format!("{program:?}");
    let child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{shown}: {error}: run `cargo xtask setup`"));
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join();
    assert!(output.status.success(), "{shown}: {}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), lines.len(), "{shown}");
    answers
}

/// One request, and what AWS shall say.
struct Case {
    about: &'static str,
    request: Value,
    allowed: bool,
}

/// A request of our role, which may do anything to S3 as far as its identity goes, for an object or a bucket of our account's.
fn request(action: &str, resource: &str, context: &Value) -> Value {
    let everything =
        json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }] });
    let mut request = json!({
        "principal": APP, "action": format!("s3:{action}"), "owner": OURS, "identity": everything, "endpoint": null, "bucket": null,
        "resource": if resource == "*" || resource.starts_with("arn:") { resource.to_owned() } else { format!("arn:aws:s3:::{resource}") },
        "context": context,
    });
    request["context"]["aws:PrincipalArn"] = json!(APP);
    // What has no resource has no owner either.
    if resource != "*" {
        request["context"]["aws:ResourceAccount"] = json!(OURS);
    }
    for (key, usual) in [("aws:PrincipalIsAWSService", "false"), ("aws:ViaAWSService", "false")] {
        if request["context"].get(key).is_none() {
            request["context"][key] = json!(usual);
        }
    }
    request
}

fn by(principal: &str, mut request: Value) -> Value {
    request["principal"] = json!(principal);
    request["context"]["aws:PrincipalArn"] = json!(principal);
    request
}

/// The same for a resource of somebody else's, which the owner has opened to everybody.
fn owned_by(account: &str, mut request: Value) -> Value {
    request["owner"] = json!(account);
    request["context"]["aws:ResourceAccount"] = json!(account);
    request["bucket"] = json!({ "Version": "2012-10-17", "Statement": [
        { "Sid": "Open", "Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": request["resource"] }
    ] });
    request
}

fn with(key: &str, policy: &Value, mut request: Value) -> Value {
    request[key] = policy.clone();
    request
}

fn evaluate(cases: &[Case]) {
    let mut node = Command::new("node");
    let modules = workspace().join("target/node");
    assert!(modules.join("node_modules").is_dir(), "no evaluator in {}: run `cargo xtask setup`", modules.display());
    node.arg(workspace().join("tests/oracle/simulate.mjs")).arg(modules);
    let lines: Vec<_> = cases.iter().map(|case| case.request.to_string()).collect();
    let mut wrong = Vec::new();
    for (case, answer) in cases.iter().zip(asked(node, &lines)) {
        // Whatever is neither, such as a fault of a policy, is wrong too.
        let allowed = ["Allowed", "ImplicitlyDenied", "ExplicitlyDenied"].iter().position(|word| *word == answer);
        if allowed.map(|at| at == 0) != Some(case.allowed) {
            wrong.push(format!("{} (expected allowed: {}): {answer}", case.about, case.allowed));
        }
    }
    let allowed = cases.iter().filter(|case| case.allowed).count();
    println!("{} requests evaluated: {allowed} to be allowed, {} to be refused", cases.len(), cases.len() - allowed);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn through_the_endpoint_only_listed_buckets_of_the_right_account_are_reached() {
    let through = json!({ "aws:SourceVpce": ENDPOINT });
    let policy = endpoint_policy(&[OURS], &[BREAK_GLASS]);
    let ask = |action: &str, resource: &str| with("endpoint", &policy, request(action, resource, &through));
    let yes = |about, request| Case { about, request, allowed: true };
    let no = |about, request| Case { about, request, allowed: false };
    let own = "x-123456789012-ap-northeast-1-an";
    let secret = "secret-123456789012-ap-northeast-1-an";
    let point = "arn:aws:s3:ap-northeast-1:123456789012:accesspoint/ap/object/key";
    let anyones =
        with("endpoint", &endpoint_policy(&[], &[]), owned_by(THEIRS, request("GetObject", "reports/key", &through)));
    evaluate(&[
        yes("a listed bucket is read", ask("GetObject", "reports/key")),
        yes("and written", ask("PutObject", "reports/key")),
        yes("and listed", ask("ListBucket", "reports")),
        yes("and asked about", ask("GetObjectAttributes", "reports/key")),
        yes("a multipart upload is given up", ask("AbortMultipartUpload", "reports/key")),
        yes("a bucket for reading is read", ask("GetObject", "reference-data/key")),
        yes("and listed", ask("ListBucket", "reference-data")),
        no("but not written", ask("PutObject", "reference-data/key")),
        no("nor emptied", ask("DeleteObject", "reference-data/key")),
        no("nobody administers through the endpoint", ask("PutBucketPolicy", "reports")),
        no("nor gives an object away", ask("PutObjectAcl", "reports/key")),
        no("nor lists all buckets", ask("ListAllMyBuckets", "*")),
        no("another bucket of ours is not reached", ask("GetObject", "payroll/key")),
        no("nor one whose name only begins so", ask("GetObject", "reports-2026/key")),
        no("nor one whose rule has expired", ask("GetObject", "last-year/key")),
        yes(
            "an open bucket of a stranger is, without an endpoint",
            owned_by(THEIRS, request("PutObject", "evil/key", &json!({}))),
        ),
        no("but not through it: the forged Host", owned_by(THEIRS, ask("PutObject", "evil/key"))),
        no("nor with the stranger's own credentials", by(MALLORY, owned_by(THEIRS, ask("PutObject", "evil/key")))),
        no("a listed name in a stranger's account is not meant", owned_by(THEIRS, ask("PutObject", "reports/key"))),
        yes("unless no account is named", anyones),
        yes("one account's buckets are reached", ask("PutObject", &format!("{own}/key"))),
        no(
            "not by a key that looks like one in a stranger's bucket",
            owned_by(THEIRS, ask("PutObject", &format!("evil/{own}/key"))),
        ),
        no(
            "nor so when no account is named",
            with(
                "endpoint",
                &endpoint_policy(&[], &[]),
                owned_by(THEIRS, ask("PutObject", &format!("evil/{own}/key"))),
            ),
        ),
        no("nor the one that a deny rule cuts out", ask("GetObject", &format!("{secret}/key"))),
        yes("but by who is exempted", by(BREAK_GLASS, ask("GetObject", &format!("{secret}/key")))),
        no("nor in another region", ask("PutObject", "x-123456789012-us-east-1-an/key")),
        yes("an access point is read", ask("GetObject", point)),
        no("but not written", ask("PutObject", point)),
        no("and another is not read", ask("GetObject", &point.replace("/ap/", "/pa/"))),
        yes(
            "AWS's bucket for the agent is read",
            owned_by("111111111111", ask("GetObject", "amazon-ssm-ap-northeast-1/latest/agent.rpm")),
        ),
        no("but not written", owned_by("111111111111", ask("PutObject", "amazon-ssm-ap-northeast-1/key"))),
        no(
            "nor is that of another region read",
            owned_by("111111111111", ask("GetObject", "amazon-ssm-us-east-1/key")),
        ),
        yes("who is exempted reaches any bucket", by(BREAK_GLASS, ask("PutBucketPolicy", "payroll"))),
    ]);
}

/// The same without the keys that AWS leaves out for some requests, such as those without credentials.
fn silent(mut request: Value) -> Value {
    request["context"].as_object_mut().unwrap().retain(|key, _| key == "aws:SourceIp");
    request
}

/// A bucket's policy with a statement that lets S3 deliver its logs, as a log bucket has it.
fn with_delivery(mut policy: Value, bucket: &str) -> Value {
    policy["Statement"].as_array_mut().unwrap().push(json!({
        "Sid": "Delivery", "Effect": "Allow", "Principal": { "Service": "logging.s3.amazonaws.com" }, "Action": "s3:PutObject",
        "Resource": format!("arn:aws:s3:::{bucket}/*"),
    }));
    policy
}

#[test]
fn a_bucket_is_reached_by_the_ways_of_its_stage_and_by_nobody_else() {
    let stages = [("source", bucket_policy("reports", sources())), ("vpce", bucket_policy("reports", Stage::Endpoint))];
    for (stage, policy) in stages {
        let policy = with_delivery(policy, "reports");
        let from = |context: Value| with("bucket", &policy, request("PutObject", "reports/key", &context));
        let case = |about, request, allowed| Case { about, request, allowed };
        let internet = || json!({ "aws:SourceIp": "198.51.100.9" });
        let service = json!({ "aws:PrincipalIsAWSService": "true" });
        let linked = "arn:aws:iam::123456789012:role/aws-service-role/access-analyzer.amazonaws.com/AWSServiceRoleForAccessAnalyzer";
        println!("stage {stage}");
        evaluate(&[
            case("through the endpoint", from(json!({ "aws:SourceVpce": ENDPOINT })), true),
            case("through another endpoint", from(json!({ "aws:SourceVpce": "vpce-0000000000000000a" })), false),
            case("from an old source", from(json!({ "aws:SourceIp": "203.0.113.9" })), stage == "source"),
            case("from an old source by IPv6", from(json!({ "aws:SourceIp": "2001:db8:5::9" })), stage == "source"),
            case("from the internet, as with stolen credentials", from(internet()), false),
            case("without any sign of where from", from(json!({})), false),
            case("a request that says nothing of itself", silent(from(internet())), false),
            case("another bucket's policy is not asked", request("PutObject", "payroll/key", &internet()), true),
            case("break-glass from the internet", by(BREAK_GLASS, from(internet())), true),
            case("a role whose name only begins so", by(&format!("{BREAK_GLASS}-2"), from(internet())), false),
            case(
                "break-glass may correct the policy",
                by(BREAK_GLASS, with("bucket", &policy, request("PutBucketPolicy", "reports", &internet()))),
                true,
            ),
            case("log delivery", by("logging.s3.amazonaws.com", from(service)), true),
            case("a service with the caller's permissions", from(json!({ "aws:ViaAWSService": "true" })), true),
            case("a role that only a service takes", by(linked, from(internet())), true),
            case("a stranger", by(MALLORY, from(json!({ "aws:SourceVpce": ENDPOINT }))), false),
        ]);
        // Nothing is allowed that was not: a role without permissions has none through the endpoint either.
        let mut bare = from(json!({ "aws:SourceVpce": ENDPOINT }));
        bare["identity"] = Value::Null;
        evaluate(&[case("a role without permissions", bare, false)]);
    }
}

#[test]
fn a_bucket_for_reading_is_not_written_through_the_endpoint() {
    let policy = bucket_policy("reference-data", Stage::Endpoint);
    let ask = |action: &str, resource: &str| {
        with("bucket", &policy, request(action, resource, &json!({ "aws:SourceVpce": ENDPOINT })))
    };
    let case = |about, request, allowed| Case { about, request, allowed };
    evaluate(&[
        case("read", ask("GetObject", "reference-data/key"), true),
        case("listed", ask("ListBucket", "reference-data"), true),
        case("written", ask("PutObject", "reference-data/key"), false),
        case("deleted", ask("DeleteObjectVersion", "reference-data/key"), false),
        case("written by who is exempted", by(BREAK_GLASS, ask("PutObject", "reference-data/key")), true),
    ]);
}

#[test]
fn an_identity_goes_to_s3_through_the_endpoint_only() {
    let policy = identity_policy();
    let ask =
        |action: &str, resource: &str, context: Value| with("identity", &policy, request(action, resource, &context));
    let case = |about, request, allowed| Case { about, request, allowed };
    let through = || json!({ "aws:SourceVpce": ENDPOINT });
    evaluate(&[
        case("a listed bucket through the endpoint", ask("PutObject", "reports/key", through()), true),
        case("from elsewhere", ask("PutObject", "reports/key", json!({ "aws:SourceIp": "203.0.113.9" })), false),
        case(
            "through another endpoint",
            ask("GetObject", "reports/key", json!({ "aws:SourceVpce": "vpce-0000000000000000a" })),
            false,
        ),
        case("a service on its behalf", ask("GetObject", "reports/key", json!({ "aws:ViaAWSService": "true" })), true),
        case("writing what is there to be read", ask("PutObject", "reference-data/key", through()), false),
        case("another bucket", ask("GetObject", "payroll/key", through()), false),
        case("another account's of a listed name", owned_by(THEIRS, ask("PutObject", "reports/key", through())), false),
        case(
            "a stranger's open bucket from elsewhere",
            owned_by(THEIRS, ask("PutObject", "evil/key", json!({}))),
            false,
        ),
    ]);
}

#[test]
fn a_linter_finds_nothing_in_any_export() {
    // What is not known to the linter: access points as the place of objects, and IPv6.
    let known = |accounts| Scope {
        rules: ["reports", "reference", "all of ours", "aws:ssm buckets"].map(str::to_owned).into(),
        ..scope(accounts)
    };
    let endpoint = |scope, exempt: &[&str]| {
        let exempt: Vec<_> = exempt.iter().map(|arn| arn.parse().unwrap()).collect();
        document(&aws::endpoint_policy(&policy(), &scope, &exempt).unwrap().text)
    };
    let identity = aws::identity_policy(&policy(), &known(&[OURS]), &[ENDPOINT.parse().unwrap()]).unwrap();
    let mut documents = vec![
        endpoint(known(&[]), &[]),
        endpoint(known(&[OURS, THEIRS]), &[]),
        document(&identity.text),
        bucket_policy("reports", Stage::Source(vec!["203.0.113.0/24".parse().unwrap()])),
        bucket_policy("reports", Stage::Endpoint),
        bucket_policy("reference-data", Stage::Endpoint),
        bucket_policy("x-123456789012-ap-northeast-1-an", Stage::Endpoint),
    ];
    let sound = documents.len();
    // It does find faults where there are some, and that who is exempted is exempted from everything.
    let fault = |action: &str, resource: &str| {
        let statement = json!({ "Effect": "Allow", "Principal": "*", "Action": action, "Resource": resource });
        json!({ "Version": "2012-10-17", "Statement": [statement] })
    };
    documents.push(fault("s3:GetObjekt", "*"));
    documents.push(fault("s3:GetObject", "arn:aws:s3:::reports"));
    documents.push(endpoint(known(&[]), &[BREAK_GLASS]));
    let wrong = ["UNKNOWN_ACTION", "RESOURCE_MISMATCH", "RESOURCE_STAR"];
    let python = workspace().join("target/venv/bin/python");
    let mut lint = Command::new(&python);
    lint.arg(workspace().join("tests/oracle/lint.py"));
    let answers = asked(lint, &documents.iter().map(Value::to_string).collect::<Vec<_>>());
    let findings = answers.iter().map(|answer| serde_json::from_str::<Vec<String>>(answer).expect(answer));
    for (at, (document, mut findings)) in documents.iter().zip(findings).enumerate() {
        // Two gaps of the linter's data: a global key, and an action on objects that it takes for one on access points.
        let gaps = [
            "UNKNOWN_CONDITION_FOR_ACTION: Unknown condition aws:ViaAWSService for action ",
            "RESOURCE_MISMATCH: [{'action': 's3:GetObjectAttributes', 'required_format': 'arn:*:s3:*:*:accesspoint/*'}]",
        ];
        findings.retain(|finding| !gaps.iter().any(|gap| finding.starts_with(gap)));
        let codes: Vec<_> = findings.iter().filter_map(|finding| finding.split(':').next()).collect();
        let expected: Vec<_> = at.checked_sub(sound).map(|at| wrong[at]).into_iter().collect();
        assert_eq!(codes, expected, "{findings:?} in {document:#}");
    }
}
