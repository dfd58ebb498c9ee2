"""Asks botocore for the host of every combination of region, feature and kind of bucket, and prints each answer once, as a
line of JSON: what was asked for, where, whether the answer's host pins it, and how a policy lists it.

Two sources: the endpoint rules themselves, over everything; and clients of boto3 in representative regions, whose requests are
caught before they are sent, because boto3 changes some hosts after the rules (presigned URLs, us-east-1).
"""

import itertools
import json
import os
import sys
from urllib.parse import urlsplit

for key in [key for key in os.environ if key.startswith("AWS")]:
    del os.environ[key]
os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull, AWS_EC2_METADATA_DISABLED="true")

import boto3
import botocore.session
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import BotoCoreError

OURS, THEIRS, OUTPOST = "123456789012", "999999999999", "op-01ac5d28a6a232904"
PARTITIONS = ["aws", "aws-cn", "aws-us-gov", "aws-eusc"]
VPCE = "vpce-0a1b2c3d4e5f67890-a1b2c3d4"
# Limits of the grammar, and names that look like parts of S3's own.
BUCKETS = ["reports", "reports2", "abc", "a" * 63, "123", "a-1--b", "com", "bucket", "accesspoint", "control", "mrap", "dualstack"]
BUCKETS += ["vpce-0a1b-2c3d", "s3-accelerate", "s3-fips", "s3-us-east-1", "s3-website-us-east-1", "s3express-use1-az4", "s3-global"]
# Those that no rule can list.
UNLISTED = ["logs.example.com", "a.b", "bucket.s3", "x.s3-us-west-2", "b.bucket", "a.accesspoint", "Reports", "a_b", "9.9"]
ALIASES = ["fin-0a1b2c3d4e5f-s3alias", "fin-0a1b2c3d4e5f--ol-s3", "fin-o01ac5d28a6a232904e8xz5w8ijx1qzlbp3i3kuse10--op-s3"]
POINTS = [("fin", OURS), ("fin", THEIRS), (f"fin-{OURS}", THEIRS), ("a" * 50, OURS), ("bucket", OURS)]
OFF = dict.fromkeys(["ForcePathStyle", "Accelerate", "UseGlobalEndpoint", "UseFIPS", "UseDualStack", "DisableAccessPoints"], False)
OFF |= {"UseArnRegion": True, "DisableMultiRegionAccessPoints": False}


class Answers:
    def __init__(self):
        self.seen, self.asked, self.refused = {}, {"rules": 0, "clients": 0}, 0

    def add(self, subject, region, url):
        """`region` is where the subject is asked for; `None` where there is no such region."""
        parts = urlsplit(url)
        # Some buckets are called like the first label of a path-style host.
        by_path = parts.path.removeprefix("/").split("/")[0] == subject["asked"]
        pins = parts.hostname.startswith(subject["start"].lower() + ".") and not by_path
        name, partition = subject["id"].split("@")
        if partition == "aws-us-gov" and (not region or region not in parts.hostname.partition(".")[2]):
            # The rules give GovCloud names of `aws`, whose buckets are others.
            partition, region = "aws", None
        line = {"host": parts.hostname, "subject": f"{name}@{partition}", "region": region, "pins": pins, "item": subject["item"]}
        self.seen[json.dumps(line)] = None


def subject(partition, asked, start, item):
    """Something that a request can be for. `item` is how a policy lists it, its region aside; `None` where none can."""
    return {"id": f"{start}@{partition}", "asked": asked, "start": start, "item": item}


def subjects(partition, region):
    """Everything that is asked for in a region, with the features that make a difference to it."""
    for name in BUCKETS:
        yield "bucket", subject(partition, name, name, f"name: {name}")
    for name in UNLISTED:
        yield "bucket", subject(partition, name, name, None)
    for account in (OURS, THEIRS):
        yield "bucket", subject(partition, *[f"x-{account}-{region}-an"] * 2, f"name: x-{account}-{region}-an")
    for name in ALIASES:
        yield "bucket", subject(partition, name, name, ("object_lambda: " if "--ol" in name else "access_point: ") + name)
    zone = f"{zone_start(region)}-az4"
    for name, key in [(f"reports--{zone}--x-s3", "directory_bucket"), (f"fin--{zone}--xa-s3", "access_point")]:
        yield "bucket", subject(partition, name, name, f"{key}: {name}")
    for name, account in POINTS:
        own = f'{name}, account: "{account}"'
        points = {"s3": "access_point", "s3-object-lambda": "object_lambda"}
        for service, key in points.items():
            if service == "s3" or len(name) <= 45:
                arn = f"arn:{partition}:{service}:{region}:{account}:accesspoint/{name}"
                one = subject(partition, arn, f"{name}-{account}", f"{key}: {own}")
                yield "arn", one | {"id": f"{key}:{one['id']}"}
        arn = f"arn:{partition}:s3-outposts:{region}:{account}:outpost/{OUTPOST}/accesspoint/{name}"
        yield "arn", subject(partition, arn, f"{name}-{account}.{OUTPOST}", f"access_point: {own}, outpost: {OUTPOST}")
    arn = f"arn:{partition}:s3::{OURS}:accesspoint:mfzwi23gnjvgw.mrap"
    yield "arn", subject(partition, arn, "mfzwi23gnjvgw.mrap", "multi_region_access_point: mfzwi23gnjvgw.mrap")


def zone_start(region):
    area, *direction, number = region.removeprefix("us-gov-").split("-")
    if region.startswith("us-gov-"):
        area, direction = "usg", [area]
    letters = "".join(direction).replace("north", "n").replace("south", "s").replace("east", "e").replace("west", "w")
    return f"{area}{letters.replace('central', 'c')}{number}"


def linked(kind, one):
    """What stands before an interface endpoint in its names for this subject, if it has such names."""
    if kind == "bucket":
        return None if one["asked"].endswith(("--x-s3", "--xa-s3", "--op-s3")) else "bucket"
    return "accesspoint" if ":s3:" in one["asked"] and ".mrap" not in one["asked"] else None


def settings(*names):
    for values in itertools.product([False, True], repeat=len(names)):
        yield OFF | dict(zip(names, values))


FEATURES = {
    "bucket": ["ForcePathStyle", "UseFIPS", "UseDualStack", "Accelerate", "UseGlobalEndpoint"],
    "arn": ["ForcePathStyle", "UseFIPS", "UseDualStack", "UseArnRegion", "DisableAccessPoints"],
}


def ask_rules(loader, partitions, answers):
    data = loader.load_data("partitions")
    s3 = EndpointProvider(loader.load_service_model("s3", "endpoint-rule-set-1"), data)
    control = EndpointProvider(loader.load_service_model("s3control", "endpoint-rule-set-1"), data)

    def ask(provider, one, region, **parameters):
        answers.asked["rules"] += 1
        try:
            answers.add(one, region, provider.resolve_endpoint(**parameters).url)
        except BotoCoreError:
            answers.refused += 1

    for partition, (suffix, regions) in partitions.items():
        for at, region in enumerate(regions):
            real = None if region.endswith("-global") else region
            for kind, one in subjects(partition, region):
                elsewhere = [regions[at - 1]] if kind == "arn" else []
                for chosen in settings(*FEATURES[kind]):
                    for client_region in [region, *elsewhere]:
                        ask(s3, one, real, Region=client_region, Bucket=one["asked"], **chosen)
                # By plain HTTP, which has names for buckets with dots, and through an interface endpoint.
                endpoints, part = [], real and linked(kind, one)
                if part == "bucket":
                    endpoints += [f"http://s3.{region}.{suffix}"]
                if part:
                    link = f"https://{part}.{VPCE}.s3.{region}.vpce.{suffix}"
                    endpoints += [link, link.replace(VPCE, f"{VPCE}-{region}a")]
                for endpoint in endpoints:
                    for chosen in settings("ForcePathStyle"):
                        ask(s3, one, real, Region=region, Bucket=one["asked"], Endpoint=endpoint, **chosen)
            # Calls that are for no bucket.
            none = subject(partition, "", "no-bucket", None)
            for chosen in settings("UseFIPS", "UseDualStack", "UseGlobalEndpoint"):
                ask(s3, none, real, Region=region, **chosen)
                ask(s3, none, real, Region=region, UseObjectLambdaEndpoint=True, **chosen)
                ask(s3, none, real, Region=region, UseS3ExpressControlEndpoint=True, **chosen)
            for fips, dualstack in itertools.product([False, True], repeat=2):
                usual = {"Region": region, "UseFIPS": fips, "UseDualStack": dualstack, "UseArnRegion": True}
                bucket = f"arn:{partition}:s3-outposts:{region}:{OURS}:outpost/{OUTPOST}/bucket/reports"
                for more in [
                    {"RequiresAccountId": True, "AccountId": OURS},
                    {"OutpostId": OUTPOST},
                    {"RequiresAccountId": True, "AccountId": OURS, "Bucket": bucket},
                ]:
                    ask(control, none, real, **usual, **more)


class Empty:
    def stream(self, *_args, **_kwargs):
        yield b""


def ask_clients(partitions, answers):
    session = boto3.session.Session(aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="secret")
    caught = []

    def catch(request, **_kwargs):
        caught.append(request.url)
        return AWSResponse(request.url, 200, {}, Empty())

    regions = [("aws", "us-east-1"), ("aws", "ap-northeast-1"), ("aws-cn", "cn-north-1")]
    regions += [("aws-us-gov", "us-gov-west-1"), ("aws-eusc", "eusc-de-east-1")]
    wanted = {"reports", "abc", "a" * 63, "logs.example.com", "a.b", "a_b", ALIASES[0]}
    for partition, region in regions:
        everything = [one for kind, one in subjects(partition, region) if kind == "arn" or one["asked"] in wanted]
        for style, dualstack, fips, accelerate, arn_region, us_east_1 in itertools.product(
            ["auto", "virtual", "path"], *[[False, True]] * 4, ["regional", "legacy"]
        ):
            if us_east_1 == "legacy" and region != "us-east-1" or not arn_region and (dualstack or accelerate):
                continue
            s3 = {"addressing_style": style, "use_accelerate_endpoint": accelerate, "use_arn_region": arn_region}
            s3["us_east_1_regional_endpoint"] = us_east_1
            config = Config(s3=s3, use_dualstack_endpoint=dualstack, use_fips_endpoint=fips, retries={"total_max_attempts": 1})
            client = session.client("s3", region_name=region, config=config)
            client.meta.events.register("before-send.s3", catch)
            for one in everything:
                asked = {"Bucket": one["asked"], "Key": "key"}
                presign = lambda: caught.append(client.generate_presigned_url("get_object", Params=asked))
                for call in (lambda: client.head_object(**asked), presign):
                    answers.asked["clients"] += 1
                    try:
                        call()
                    except (BotoCoreError, ValueError):
                        answers.refused += 1
                    while caught:
                        answers.add(one, region, caught.pop())


def main():
    loader = botocore.session.get_session().get_component("data_loader")
    partitions = {}
    for one in loader.load_data("partitions")["partitions"]:
        if one["id"] in PARTITIONS:
            partitions[one["id"]] = (one["outputs"]["dnsSuffix"], sorted(one["regions"]))
    answers = Answers()
    ask_rules(loader, partitions, answers)
    ask_clients(partitions, answers)
    sys.stdout.write("\n".join(answers.seen) + "\n")
    print(json.dumps({"asked": answers.asked, "refused": answers.refused, "interface": VPCE}))


main()
