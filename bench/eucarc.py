"""The file by which a cloud that speaks the EC2 APIs is found: addresses, keys, region."""

import pathlib

import boto3


def read(path):
    """Its variables, by name."""
    lines = pathlib.Path(path).read_text().splitlines()
    return dict(line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))


def keys(variables):
    """As clients of boto3 want them."""
    names = {"aws_access_key_id": "AWS_ACCESS_KEY_ID", "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY"}
    return {name: variables[variable] for name, variable in names.items()}


def client(variables, service, url, **options):
    """A client of boto3 for the service at the address of that name."""
    region = variables.get("AWS_AUTH_REGION", "localcloud")
    return boto3.client(service, endpoint_url=variables[url], region_name=region, **keys(variables), **options)
