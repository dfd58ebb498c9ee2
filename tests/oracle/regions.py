"""Prints crates/policy/src/s3/data.rs: AWS's partitions, their regions, and the forms of S3's names, as botocore has them.

Run by `cargo xtask regions`, with the botocore of target/venv. Names are not typed here: botocore's endpoint rules are asked
for the host of a bucket (an access point, …) in every region, and what they answer is printed with the region's name and the
partition's suffix taken out. Regions of one partition must agree, or this fails.
"""

import datetime

import botocore
import botocore.session
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import EndpointProviderError

# Those that a gate can be in. Longer suffixes first, since one ends with another.
PARTITIONS = ["aws-cn", "aws", "aws-us-gov", "aws-eusc"]
ACCOUNT, OUTPOST, ZONE = "123456789012", "op-01ac5d28a6a232904", "xyz1-az4"
FIPS, DUAL = {"UseFIPS": True}, {"UseDualStack": True}
BOTH = FIPS | DUAL
USUAL = [("Regional", {}), ("Dualstack", DUAL), ("Fips", FIPS), ("FipsDualstack", BOTH)]
ACCELERATE = {"Accelerate": True}
# What a kind of bucket is called when it is asked for, what its host begins with, and the forms that it could have.
KINDS = {
    "Bucket": (
        "probe",
        "probe",
        [*USUAL, ("Global", {"UseGlobalEndpoint": True})]
        + [("Accelerate", ACCELERATE), ("AccelerateDualstack", ACCELERATE | DUAL)],
    ),
    "AccessPoint": ("arn:{partition}:s3:{region}:{account}:accesspoint/probe", "probe-{account}", USUAL),
    "ObjectLambda": ("arn:{partition}:s3-object-lambda:{region}:{account}:accesspoint/probe", "probe-{account}", USUAL),
    "MultiRegion": ("arn:{partition}:s3::{account}:accesspoint:probe.mrap", "probe", [("Global", {})]),
    "Directory": ("probe--{zone}--x-s3", "probe--{zone}--x-s3", USUAL),
    "Outposts": ("arn:{partition}:s3-outposts:{region}:{account}:outpost/{outpost}/accesspoint/probe", "probe-{account}", USUAL),
}
DEFAULTS = {
    "ForcePathStyle": False,
    "Accelerate": False,
    "UseGlobalEndpoint": False,
    "DisableMultiRegionAccessPoints": False,
    "UseArnRegion": True,
    "UseFIPS": False,
    "UseDualStack": False,
}


def main():
    loader = botocore.session.get_session().get_component("data_loader")
    partitions = {one["id"]: one for one in loader.load_data("partitions")["partitions"]}
    endpoints = {one["partition"]: one for one in loader.load_data("endpoints")["partitions"]}
    provider = EndpointProvider(loader.load_service_model("s3", "endpoint-rule-set-1"), loader.load_data("partitions"))

    print(f"""\
//! AWS's partitions, their regions, and the forms of S3's names. Made by `cargo xtask regions`: do not edit.
//!
//! Source: botocore {botocore.__version__}, its `partitions.json`, `endpoints.json` and the endpoint rules of S3.
//! Taken on {datetime.date.today()}.

use crate::s3::form::{{Form, Kind}};
use crate::s3::regions::Partition;

/// The partitions, the longest suffix first.
pub(crate) const PARTITIONS: &[Partition] = &[""")
    taken = set()
    for partition in PARTITIONS:
        suffix = partitions[partition]["outputs"]["dnsSuffix"]
        s3 = endpoints[partition]["services"].get("s3", {}).get("endpoints", {})
        pseudo = f"{partition}-global"
        # Either file may know a region first.
        regions = sorted((set(partitions[partition]["regions"]) | set(endpoints[partition]["regions"])) - {pseudo})
        print(f"""\
    Partition {{
        id: "{partition}",
        suffix: "{suffix}",
        dualstack: "{partitions[partition]["outputs"]["dualStackDnsSuffix"]}",
        regions: {strings(regions)},
        fips: {strings(region for region in regions if "fips" in variants(s3.get(region, {})))},
        external: {strings(entry["credentialScope"]["region"] for name, entry in s3.items() if name == "s3-external-1")},
        tails: &[""")
        for kind, (name, start, forms) in KINDS.items():
            for form, features in forms:
                tail = agreed(provider, partition, suffix, regions, name, start, features, form == "Global")
                # Where two partitions share a suffix, a name that says no region is the first one's: with it, a bucket of
                # the second would stand for whatever bucket has its name in the first.
                if tail and ("{region}" in tail or suffix not in taken):
                    print(f'            (Kind::{kind}, Form::{form}, "{tail}"),')
        print("        ],\n    },")
        taken.add(suffix)
    print("];")


def strings(texts):
    return "&[" + ", ".join(f'"{text}"' for text in texts) + "]"


def variants(endpoint):
    return {tag for variant in endpoint.get("variants", []) for tag in variant["tags"]}


def agreed(provider, partition, suffix, regions, name, start, features, anywhere):
    """What follows the bucket in its name, the same in all regions; nothing where the rules have no such name."""
    found = set()
    for region in regions:
        words = {"partition": partition, "region": region, "account": ACCOUNT, "outpost": OUTPOST, "zone": ZONE}
        try:
            url = provider.resolve_endpoint(**{**DEFAULTS, **features, "Bucket": name.format(**words), "Region": region}).url
        except EndpointProviderError:
            found.add(None)
            continue
        host, start_here = url.removeprefix("https://"), start.format(**words)
        assert host.startswith(start_here + ".") and host.endswith("." + suffix), url
        tail = host.removeprefix(start_here).removesuffix(suffix) + "{suffix}"
        found.add(tail.replace(region, "{region}").replace(OUTPOST, "{outpost}").replace(ZONE, "{zone}"))
    if anywhere:
        # The global name is us-east-1's in the rules; clients sign to it for every region of its partition.
        found = {tail for tail in found if tail and "{region}" not in tail} or {None}
    (one,) = found
    return one


main()
