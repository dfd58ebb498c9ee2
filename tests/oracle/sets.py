"""Prints the hosts of AWS's services in every region as the botocore of target/venv has them, a JSON object a line."""

import json

import botocore.session
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import EndpointProviderError

# A built-in rule set, and what botocore calls the service. It knows the agent's two channels, ssmmessages and ec2messages, by no name.
SERVICES = [
    ("aws:ec2", "ec2"),
    ("aws:kms", "kms"),
    ("aws:logs", "logs"),
    ("aws:monitoring", "cloudwatch"),
    ("aws:ssm", "ssm"),
    ("aws:sts", "sts"),
]
PARTITIONS = ["aws", "aws-cn", "aws-us-gov", "aws-eusc"]


def main():
    loader = botocore.session.get_session().get_component("data_loader")
    partitions = loader.load_data("partitions")
    regions = [
        region
        for partition in partitions["partitions"]
        if partition["id"] in PARTITIONS
        for region in partition["regions"]
        if not region.endswith("-global")
    ]
    for rule_set, service in SERVICES:
        rules = loader.load_service_model(service, "endpoint-rule-set-1")
        provider = EndpointProvider(rules, partitions)
        given = {"UseFIPS": False, "UseDualStack": False}
        if "UseGlobalEndpoint" in rules["parameters"]:
            given["UseGlobalEndpoint"] = False
        for region in regions:
            try:
                url = provider.resolve_endpoint(Region=region, **given).url
            except EndpointProviderError:
                continue
            print(json.dumps({"set": rule_set, "region": region, "host": url.removeprefix("https://")}))


main()
