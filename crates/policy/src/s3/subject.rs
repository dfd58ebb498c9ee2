//! What an item of `buckets:` names: checked, and as its host names begin.

use crate::index::Shape;
use crate::s3::bucket::{self, BadBucket};
use crate::s3::{Form, Kind, Place, regions};

/// Something in S3 that names can pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) kind: Kind,
    shape: Shape,
    /// How its host names begin.
    stem: String,
    /// The zone of a directory bucket, else empty.
    pub(crate) zone: String,
    /// The outpost of an access point, else empty.
    pub(crate) outpost: String,
}

impl Subject {
    fn new(kind: Kind, stem: impl Into<String>) -> Self {
        Self { kind, shape: Shape::Exact, stem: stem.into(), zone: String::new(), outpost: String::new() }
    }

    /// A bucket, or the wildcard over one account's buckets of a region.
    pub(crate) fn bucket(name: &str, region: &str) -> Result<Self, BadBucket> {
        bucket::check(name, region)?;
        let whole = Self::new(Kind::Bucket, name);
        Ok(name.strip_prefix('*').map_or(whole, |stem| Self { shape: Shape::Ending, ..Self::new(Kind::Bucket, stem) }))
    }

    /// An access point by its own name. What is wrong is in words that follow "the access point's name … ".
    pub(crate) fn access_point(name: &str, account: &str) -> Result<Self, String> {
        // S3 User Guide, "Access points restrictions and limitations".
        label(name, 3, 50)?;
        Ok(Self::new(Kind::AccessPoint, format!("{name}-{account}")))
    }

    /// An access point on an outpost.
    pub(crate) fn on_outpost(name: &str, account: &str, outpost: &str) -> Result<Self, String> {
        label(name, 3, 50)?;
        Ok(Self { outpost: outpost.to_owned(), ..Self::new(Kind::Outposts, format!("{name}-{account}")) })
    }

    /// An Object Lambda access point by its own name.
    pub(crate) fn object_lambda(name: &str, account: &str) -> Result<Self, String> {
        label(name, 3, 45)?;
        Ok(Self::new(Kind::ObjectLambda, format!("{name}-{account}")))
    }

    /// What says by its ending what it is, and so needs no account: an alias, or an access point of a directory bucket.
    /// `None` for a name without such an ending.
    pub(crate) fn alias(name: &str, region: &str) -> Option<Result<Self, String>> {
        let plain = || label(name, 3, 63);
        if name.ends_with("-s3alias") || name.ends_with("--ol-s3") {
            // Clients put it in a bucket's place.
            return Some(plain().map(|()| Self::new(Kind::Bucket, name)));
        }
        if name.ends_with("--xa-s3") {
            return Some(Self::zonal(name, "--xa-s3", region));
        }
        if name.ends_with("--op-s3") {
            // The endpoint rules of botocore take the outpost from these places, counted from the end.
            let at = |from: usize, to: usize| {
                let (from, to) = (name.len().checked_sub(from)?, name.len().checked_sub(to)?);
                name.get(from..to)
            };
            let Some((_, id)) = at(50, 49).filter(|hardware| *hardware == "o").zip(at(49, 32)) else {
                return Some(Err("is not in the form of an alias of an access point on Outposts".to_owned()));
            };
            let outpost = format!("op-{id}");
            return Some(plain().map(|()| Self { outpost, ..Self::new(Kind::Outposts, name) }));
        }
        None
    }

    /// A multi-region access point by its alias.
    pub(crate) fn multi_region(alias: &str) -> Result<Self, String> {
        let stem = alias.strip_suffix(".mrap").ok_or("does not end with `.mrap`")?;
        label(stem, 1, 50)?;
        Ok(Self::new(Kind::MultiRegion, stem))
    }

    /// A directory bucket.
    pub(crate) fn directory(name: &str, region: &str) -> Result<Self, String> {
        Self::zonal(name, "--x-s3", region)
    }

    fn zonal(name: &str, ending: &str, region: &str) -> Result<Self, String> {
        label(name, 3, 63)?;
        let rest = name.strip_suffix(ending).ok_or_else(|| format!("does not end with `--ZONE{ending}`"))?;
        let zone = rest.rsplit_once("--").filter(|(base, zone)| {
            let digits = zone.rsplit_once("-az").is_some_and(|(area, number)| {
                !area.is_empty() && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
            });
            !base.is_empty() && digits
        });
        let Some((_, zone)) = zone else { return Err(format!("has no zone, like `apne1-az4`, before `{ending}`")) };
        if let Some(start) = regions::zone_start(region)
            && !zone.strip_prefix(&start).is_some_and(|rest| rest.starts_with('-'))
        {
            return Err(format!("is of the zone {zone}, but those of {region} begin with `{start}-`"));
        }
        Ok(Self { zone: zone.to_owned(), ..Self::new(Kind::Directory, name) })
    }

    /// The names that pin it by one form.
    pub(crate) fn names<'s>(
        &'s self,
        form: Form,
        place: &Place<'s>,
    ) -> impl Iterator<Item = (Shape, String)> + use<'s> {
        let place = Place { zone: &self.zone, outpost: &self.outpost, ..*place };
        place.tails(self.kind, form).into_iter().map(|tail| (self.shape, format!("{}{tail}", self.stem)))
    }

    /// The name that pins it at an interface endpoint; `None` where there is no such name.
    pub(crate) fn private_link(&self, endpoint: &str, place: &Place<'_>) -> Option<(Shape, String)> {
        place.private_link(self.kind, endpoint).map(|tail| (self.shape, format!("{}{tail}", self.stem)))
    }
}

/// Whether it is an account's number.
pub(crate) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether it is an outpost's ID.
pub(crate) fn is_outpost(text: &str) -> bool {
    text.strip_prefix("op-").is_some_and(|id| id.len() == 17 && id.bytes().all(|b| b.is_ascii_hexdigit()))
        && !text.bytes().any(|b| b.is_ascii_uppercase())
}

/// Whether it is the first label of an interface endpoint's names in a region: `vpce-ID-MORE`, perhaps with a zone.
pub(crate) fn is_interface(text: &str, region: &str) -> bool {
    let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let Some(rest) = text.strip_prefix("vpce-").filter(|_| text.len() <= 63) else { return false };
    let mut parts = rest.splitn(3, '-');
    let (id, more, zone) = (parts.next(), parts.next(), parts.next());
    let zone_fits = |zone: &str| {
        zone.strip_prefix(region).is_some_and(|rest| rest.split('-').all(|part| word(part) || part.is_empty()))
            && zone.ends_with(|c: char| c.is_ascii_lowercase())
            && zone.len() > region.len()
    };
    id.is_some_and(word) && more.is_some_and(word) && zone.is_none_or(zone_fits)
}

/// Checks one label: lowercase letters, digits and hyphens, the hyphens inside.
fn label(text: &str, least: usize, most: usize) -> Result<(), String> {
    if let Some(bad) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        return Err(format!("has `{bad}`; it may have lowercase letters, digits and hyphens"));
    }
    if !(least..=most).contains(&text.len()) {
        return Err(format!("has {} characters; it must have {least} to {most}", text.len()));
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err("must begin and end with a letter or a digit".to_owned());
    }
    Ok(())
}
