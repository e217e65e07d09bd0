"""Abuse of a cloud's control plane: what is opened to the world, given to strangers, switched off or destroyed."""

from __future__ import annotations

from schema import CLOUD_WORK
from tasks.families.story import Family
from tasks.families.tellings import call, made

_S3 = "s3.amazonaws.com"


def _bucket_policy(principal: str) -> dict[str, object]:
    statement = {
        "Effect": "Allow",
        "Principal": principal,
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::{word}-data/*",
    }
    return {"bucketName": "{word}-data", "bucketPolicy": {"Version": "2012-10-17", "Statement": [statement]}}


FAMILIES: tuple[Family, ...] = (
    made(
        "opened_bucket",
        "T1530",
        "collection",
        ("cloud-opened-to-world",),
        CLOUD_WORK,
        suspicious=[[call(_S3, "PutBucketPolicy", _bucket_policy("*"), cloud_account="{account}")]],
        below=[
            [
                call(
                    _S3,
                    "PutBucketPolicy",
                    _bucket_policy("arn:aws:iam::{account}:role/{word2}"),
                    cloud_account="{account}",
                )
            ]
        ],
        platform="cloud",
    ),
)
