"""Prints what boto3 and the AWS CLI ask for under usual settings, one line of JSON for each: the client, its setting, the region,
and the host. Nothing is sent: requests are caught before, and presigned URLs need no request.
"""

import contextlib
import io
import json
import os
import tempfile
from urllib.parse import urlsplit

for key in [key for key in os.environ if key.startswith("AWS")]:
    del os.environ[key]
os.environ.update(AWS_ACCESS_KEY_ID="AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY="secret", AWS_EC2_METADATA_DISABLED="true")
os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull

import awscli.clidriver
import boto3
import botocore.awsrequest

try:
    import awscli.botocore.awsrequest as awscli_request
except ImportError:
    awscli_request = botocore.awsrequest

# The rows of the table in docs/policy.md: a setting, as a profile has it, and regions.
CASES = [
    ("", ["us-east-1", "ap-northeast-1", "us-gov-west-1", "cn-north-1"]),
    ("s3.us_east_1_regional_endpoint = regional", ["us-east-1"]),
    ("s3.addressing_style = virtual", ["us-east-1", "ap-northeast-1"]),
    ("use_dualstack_endpoint = true", ["us-east-1", "ap-northeast-1"]),
    ("use_fips_endpoint = true", ["us-east-1"]),
    ("s3.use_accelerate_endpoint = true", ["ap-northeast-1"]),
    ("s3.addressing_style = path", ["ap-northeast-1"]),
]


class Empty:
    def stream(self, *_args, **_kwargs):
        yield b""


def catcher(kind, caught):
    def catch(request, **_kwargs):
        caught.append(request.url)
        return kind.AWSResponse(request.url, 200, {}, Empty())

    return catch


def boto3_asks(region):
    caught = []
    client = boto3.session.Session().client("s3", region_name=region)
    client.meta.events.register("before-send.s3", catcher(botocore.awsrequest, caught))
    client.head_object(Bucket="reports", Key="key")
    return caught.pop(), client.generate_presigned_url("get_object", Params={"Bucket": "reports", "Key": "key"})


def awscli_asks(region):
    request = awscli_run(region, "s3api", "head-object", "--bucket", "reports", "--key", "key")
    assert awscli_run(region, "s3", "ls", "s3://reports").hostname == request.hostname
    return request.geturl(), awscli_run(region, "s3", "presign", "s3://reports/key").geturl()


def awscli_run(region, *words):
    """The URL that is asked for, or printed."""
    caught, printed = [], io.StringIO()
    driver = awscli.clidriver.create_clidriver()
    driver.session.register("before-send.s3", catcher(awscli_request, caught))
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        driver.main([*words, "--region", region])
    return urlsplit((caught or printed.getvalue().split())[0])


def profile(setting):
    section, _, line = setting.rpartition(".") if setting.startswith("s3.") else ("", "", setting)
    return "[default]\n" + (f"{section} =\n  {line}\n" if section else f"{line}\n")


def main():
    with tempfile.TemporaryDirectory() as directory:
        for at, (setting, regions) in enumerate(CASES):
            path = os.path.join(directory, f"{at}.ini")
            with open(path, "w") as file:
                file.write(profile(setting))
            os.environ["AWS_CONFIG_FILE"] = path
            for region in regions:
                for client, asks in [("boto3", boto3_asks), ("awscli", awscli_asks)]:
                    request, presigned = [urlsplit(url).hostname for url in asks(region)]
                    line = {"client": client, "setting": setting, "region": region, "request": request, "presigned": presigned}
                    print(json.dumps(line))
        os.environ["AWS_CONFIG_FILE"] = os.devnull
        print(json.dumps({"listing": awscli_run("ap-northeast-1", "s3", "ls").hostname}))


main()
