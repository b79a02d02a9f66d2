//! What the names of AWS's hosts say:
//! <https://docs.aws.amazon.com/general/latest/gr/rande.html>.

/// A service of AWS in one region, by the names that signatures carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceAt<'a> {
    /// The region, such as `eu-central-1`.
    pub region: &'a str,
    /// The service's name in signatures, such as `ses` for `email.eu-west-1.amazonaws.com`.
    pub service: &'a str,
}

/// What AWS's hosts end in.
static ENDS: [&str; 7] = [
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".amazonaws.eu",
    ".api.amazonwebservices.com.cn",
    ".api.amazonwebservices.eu",
    ".api.aws",
    ".on.aws",
];
/// Hosts that name no region, or not as the others do: host, region, service.
static ODD_HOSTS: [(&str, &str, &str); 20] = [
    ("autoscaling.amazonaws.com", "us-east-1", "autoscaling"),
    ("budgets.amazonaws.com", "us-east-1", "budgets"),
    ("budgets.amazonaws.com.cn", "cn-northwest-1", "budgets"),
    ("cloudfront.amazonaws.com", "us-east-1", "cloudfront"),
    ("ec2.amazonaws.com", "us-east-1", "ec2"),
    ("elasticmapreduce.amazonaws.com", "us-east-1", "elasticmapreduce"),
    ("global.health.amazonaws.com", "us-east-1", "health"),
    ("global.health.amazonaws.com.cn", "cn-northwest-1", "health"),
    ("iam.amazonaws.com", "us-east-1", "iam"),
    ("iam.us-gov.amazonaws.com", "us-gov-west-1", "iam"),
    ("organizations.amazonaws.com", "us-east-1", "organizations"),
    ("queue.amazonaws.com", "us-east-1", "sqs"),
    ("route53.amazonaws.com", "us-east-1", "route53"),
    ("route53.amazonaws.com.cn", "cn-northwest-1", "route53"),
    ("route53.us-gov.amazonaws.com", "us-gov-west-1", "route53"),
    ("savingsplans.amazonaws.com", "us-east-1", "savingsplans"),
    ("sdb.amazonaws.com", "us-east-1", "sdb"),
    ("sns.amazonaws.com", "us-east-1", "sns"),
    ("sts.amazonaws.com", "us-east-1", "sts"),
    ("waf.amazonaws.com", "us-east-1", "waf"),
];
/// Services whose hosts name the region before them: label of the host, name in signatures.
static AFTER_REGION: [(&str, &str); 4] =
    [("aoss", "aoss"), ("cloudsearch", "cloudsearch"), ("es", "es"), ("queue", "sqs")];
/// Services whose hosts carry another name than their signatures: label of the host, name in
/// signatures.
static RENAMED: [(&str, &str); 31] = [
    ("appconfigdata", "appconfig"),
    ("appstream2", "appstream"),
    ("bedrock-agent", "bedrock"),
    ("bedrock-agent-runtime", "bedrock"),
    ("bedrock-agentcore-control", "bedrock-agentcore"),
    ("bedrock-data-automation", "bedrock"),
    ("bedrock-data-automation-runtime", "bedrock"),
    ("bedrock-runtime", "bedrock"),
    ("cassandra-streams", "cassandra"),
    ("cloudhsmv2", "cloudhsm"),
    ("contact-lens", "connect"),
    ("data-signer", "signer"),
    ("ddb", "dynamodb"),
    ("email", "ses"),
    ("forecastquery", "forecast"),
    ("ivsrealtime", "ivs"),
    ("lambda-url", "lambda"),
    ("mail-manager", "ses"),
    ("marketplace", "aws-marketplace"),
    ("memory-db", "memorydb"),
    ("migrationhub-config", "mgh"),
    ("models-v2-lex", "lex"),
    ("oidc", "sso-oauth"),
    ("personalize-events", "personalize"),
    ("personalize-runtime", "personalize"),
    ("pinpoint", "mobiletargeting"),
    ("runtime-v2-lex", "lex"),
    ("s3-accesspoint", "s3"),
    ("s3-control", "s3"),
    ("servicecatalog-appregistry", "servicecatalog"),
    ("transcribestreaming", "transcribe"),
];

/// The service and the region that requests to a host of AWS are signed for. `host` is in lower
/// case, without a port and without a dot at its end.
///
/// `None` for hosts that are not AWS's, that say too little (such as those of S3's Transfer
/// Acceleration, whose buckets lie in any region), or that take no signed requests (such as load
/// balancers and websites in buckets). S3's old hosts without a region are taken to mean
/// `us-east-1`. A service that is not known here is taken to carry the same name in signatures as
/// in its host.
pub fn service_of(host: &str) -> Option<ServiceAt<'_>> {
    if let Some(&(_, region, service)) = ODD_HOSTS.iter().find(|(odd, ..)| *odd == host) {
        return Some(ServiceAt { region, service });
    }
    let name = ENDS.iter().find_map(|end| host.strip_suffix(end))?;
    // Addresses inside a network of one's own, and those for both versions of IP.
    let name = name.strip_suffix(".vpce").unwrap_or(name);
    let mut labels = name.rsplit('.').filter(|label| *label != "dualstack");
    let last = labels.next()?;
    if is_region(last) {
        let (label, before) = (labels.next()?, labels.next());
        return Some(ServiceAt { region: last, service: signing_name(label, before)? });
    }
    if host.ends_with(".amazonaws.com")
        && let Some(region) = old_s3_region(last)
    {
        return Some(ServiceAt { region, service: "s3" });
    }
    let region = labels.next().filter(|label| is_region(label))?;
    let &(_, service) = AFTER_REGION.iter().find(|(label, _)| *label == last)?;
    Some(ServiceAt { region, service })
}

/// The name in signatures for the label next to the region and the one before that; `None` if
/// requests are not signed.
fn signing_name<'a>(label: &'a str, before: Option<&str>) -> Option<&'a str> {
    let label = label.strip_suffix("-fips").unwrap_or(label);
    let name = match (before, label) {
        (_, "" | "elb" | "s3-website") | (Some("dkr"), "ecr") => return None,
        (Some("jobs"), "iot") => "iot-jobs-data",
        (Some("tunneling"), "iot") => "IoTSecuredTunneling",
        (Some(_), "iot") => "iotdata",
        (Some("participant"), "connect") => "execute-api",
        (Some("sms-voice"), "pinpoint") => "sms-voice",
        (_, label) if label.starts_with("s3express-") => "s3express",
        (_, label) if label.ends_with("-chime") => "chime",
        (_, label) if label.ends_with("-marketplace") => "aws-marketplace",
        (_, label) => RENAMED.iter().find(|(host, _)| *host == label).map_or(label, |&(_, it)| it),
    };
    Some(name)
}

/// The region in the label that S3's old hosts have instead of two: `s3-eu-west-1`, or only `s3`.
fn old_s3_region(label: &str) -> Option<&str> {
    if matches!(label, "s3" | "s3-external-1") {
        return Some("us-east-1");
    }
    let rest = label.strip_prefix("s3-")?;
    let region = rest.strip_prefix("fips-").unwrap_or(rest);
    is_region(region).then_some(region)
}

/// Whether a label is written like a region: `eu-central-1`, `us-gov-west-1`, `eusc-de-east-1`.
fn is_region(label: &str) -> bool {
    let parts: Vec<&str> = label.split('-').collect();
    let [area, directions @ .., number] = parts.as_slice() else { return false };
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_lowercase());
    matches!(area.len(), 2..=4)
        && is_word(area)
        && !directions.is_empty()
        && directions.iter().all(|part| is_word(part))
        && matches!(number.len(), 1..=2)
        && number.bytes().all(|it| it.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_say_region_and_service() {
        for (host, region, service) in [
            ("s3.eu-central-1.amazonaws.com", "eu-central-1", "s3"),
            ("bucket.s3.eu-central-1.amazonaws.com", "eu-central-1", "s3"),
            ("a.bucket.with.dots.s3.eu-central-1.amazonaws.com", "eu-central-1", "s3"),
            ("bucket.s3.dualstack.eu-central-1.amazonaws.com", "eu-central-1", "s3"),
            ("s3-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1", "s3"),
            ("ap-123456789012.s3-accesspoint.us-west-2.amazonaws.com", "us-west-2", "s3"),
            ("123456789012.s3-control.us-west-2.amazonaws.com", "us-west-2", "s3"),
            ("b.vpce-1a2b.s3.us-east-1.vpce.amazonaws.com", "us-east-1", "s3"),
            ("b--x-s3.s3express-use1-az4.us-east-1.amazonaws.com", "us-east-1", "s3express"),
            ("sts.amazonaws.com", "us-east-1", "sts"),
            ("sts.eu-west-3.amazonaws.com", "eu-west-3", "sts"),
            ("iam.amazonaws.com", "us-east-1", "iam"),
            ("iam.us-gov.amazonaws.com", "us-gov-west-1", "iam"),
            ("dynamodb.us-west-2.amazonaws.com", "us-west-2", "dynamodb"),
            ("123456789012.ddb.us-west-2.amazonaws.com", "us-west-2", "dynamodb"),
            ("streams.dynamodb.us-west-2.amazonaws.com", "us-west-2", "dynamodb"),
            ("email.eu-west-1.amazonaws.com", "eu-west-1", "ses"),
            ("secretsmanager.cn-north-1.amazonaws.com.cn", "cn-north-1", "secretsmanager"),
            ("secretsmanager-fips.us-east-2.amazonaws.com", "us-east-2", "secretsmanager"),
            ("vpce-0a-1b.kms.eu-west-1.vpce.amazonaws.com", "eu-west-1", "kms"),
            ("sqs.ap-southeast-2.amazonaws.com", "ap-southeast-2", "sqs"),
            ("us-west-1.queue.amazonaws.com", "us-west-1", "sqs"),
            ("abc123.execute-api.eu-north-1.amazonaws.com", "eu-north-1", "execute-api"),
            ("search-mine-abc.eu-west-1.es.amazonaws.com", "eu-west-1", "es"),
            ("abc.us-east-1.aoss.amazonaws.com", "us-east-1", "aoss"),
            ("bedrock-runtime.us-east-1.amazonaws.com", "us-east-1", "bedrock"),
            ("runtime.sagemaker.us-east-1.amazonaws.com", "us-east-1", "sagemaker"),
            ("api.ecr.us-east-1.amazonaws.com", "us-east-1", "ecr"),
            ("abc-ats.iot.us-east-1.amazonaws.com", "us-east-1", "iotdata"),
            ("iot.us-east-1.amazonaws.com", "us-east-1", "iot"),
            ("metering.marketplace.us-east-1.amazonaws.com", "us-east-1", "aws-marketplace"),
            ("abc.lambda-url.eu-central-1.on.aws", "eu-central-1", "lambda"),
            ("lambda.eu-central-1.api.aws", "eu-central-1", "lambda"),
            ("kms.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", "kms"),
        ] {
            assert_eq!(service_of(host), Some(ServiceAt { region, service }), "{host}");
        }
    }

    #[test]
    fn old_hosts_of_s3_are_known() {
        for (host, region) in [
            ("s3.amazonaws.com", "us-east-1"),
            ("bucket.s3.amazonaws.com", "us-east-1"),
            ("s3-eu-west-1.amazonaws.com", "eu-west-1"),
            ("bucket.s3-eu-west-1.amazonaws.com", "eu-west-1"),
            ("s3-fips-us-gov-west-1.amazonaws.com", "us-gov-west-1"),
            ("bucket.s3-external-1.amazonaws.com", "us-east-1"),
        ] {
            assert_eq!(service_of(host), Some(ServiceAt { region, service: "s3" }), "{host}");
        }
    }

    #[test]
    fn other_hosts_say_nothing() {
        for host in [
            "",
            "amazonaws.com",
            ".amazonaws.com",
            "eu-west-1.amazonaws.com",
            ".eu-west-1.amazonaws.com",
            "s3.eu-west-1.amazonaws.com.example.org",
            "s3.eu-west-1.notamazonaws.com",
            "api.example.com",
            "bucket.s3-accelerate.amazonaws.com",
            "bucket.s3-accelerate.dualstack.amazonaws.com",
            "bucket.s3-website.eu-central-1.amazonaws.com",
            "bucket.s3-website-eu-west-1.amazonaws.com",
            "mine.accesspoint.s3-global.amazonaws.com",
            "s3.amazonaws.com.cn",
            "mine-123.elb.us-east-1.amazonaws.com",
            "mine-123.us-east-1.elb.amazonaws.com",
            "db.abc.us-east-1.rds.amazonaws.com",
            "ec2-1-2-3-4.eu-west-1.compute.amazonaws.com",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com",
        ] {
            assert_eq!(service_of(host), None, "{host}");
        }
    }

    #[test]
    fn regions_are_told_from_other_labels() {
        for region in ["us-east-1", "us-gov-west-1", "us-isob-east-1", "ap-southeast-12"] {
            assert!(is_region(region), "{region}");
        }
        for other in
            ["", "us-1", "s3-eu-west-1", "website-us-east-1", "us-east-", "us--1", "us-east-1a"]
        {
            assert!(!is_region(other), "{other}");
        }
    }
}
