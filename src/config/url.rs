//! Reading a store's URL. The URL may hold a password: no error here repeats any part of it.

use super::query::{CLUSTER_SCHEMES, REDIS_SCHEMES, SENTINEL_SCHEMES, parameters};
#[cfg(feature = "redis")]
use super::target::Target;
use super::{Parameters, refuse};
#[cfg(feature = "redis")]
use super::{address, cluster, sentinel};
use crate::error::Result;

/// Which engine a store's URL names.
pub(super) enum Engine {
    Memory,
    #[cfg(feature = "redis")]
    Redis(Target),
}

/// The engine that a URL names, and its parameters that are settings.
pub(super) fn parse(url: &str) -> Result<(Engine, Parameters)> {
    let Some((scheme, rest)) = url.trim().split_once("://") else {
        return refuse("a store's URL looks like memory://?capacity=64MiB or redis://host:6379/0".to_owned());
    };
    if scheme.eq_ignore_ascii_case("memory") {
        return Ok((Engine::Memory, memory(rest)?));
    }
    let others = SENTINEL_SCHEMES.iter().chain(&CLUSTER_SCHEMES);
    let mut redis_schemes = REDIS_SCHEMES.iter().chain(others.map(|(scheme, _)| scheme));
    if redis_schemes.any(|known| scheme.eq_ignore_ascii_case(known)) {
        return redis(url);
    }
    refuse(
        "the URL's scheme names no engine: memory://, redis://, rediss://, unix://, redis-sentinel://, \
         rediss-sentinel://, redis-cluster:// and rediss-cluster:// do"
            .to_owned(),
    )
}

#[cfg(feature = "redis")]
fn redis(url: &str) -> Result<(Engine, Parameters)> {
    let (target, given) = target(url)?;
    Ok((Engine::Redis(target), given))
}

/// What a URL of Redis leads to, and its parameters that are settings.
#[cfg(feature = "redis")]
pub(super) fn target(url: &str) -> Result<(Target, Parameters)> {
    if let Some((sentinels, given)) = sentinel::read(url)? {
        return Ok((Target::Sentinel(sentinels), given));
    }
    if let Some((cluster, given)) = cluster::read(url)? {
        return Ok((Target::Cluster(cluster), given));
    }
    let (address, given) = address::read(url, address::SERVER_PORT)?;
    Ok((Target::Address(address), given))
}

#[cfg(not(feature = "redis"))]
fn redis(_: &str) -> Result<(Engine, Parameters)> {
    refuse(
        "URLs of Redis need the Cargo feature `redis` of cachestore, which is off in this build".to_owned(),
    )
}

fn memory(rest: &str) -> Result<Parameters> {
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !place.trim_end_matches('/').is_empty() {
        return refuse("memory:// takes no host, user or path".to_owned());
    }
    Ok(parameters(query))
}

#[cfg(test)]
mod tests {
    use super::super::{Config, EngineConfig, MIB};
    use crate::codec::Codec;
    use crate::error::Error;

    const KIB: usize = 1024;

    fn capacity(url: &str) -> Option<usize> {
        match Config::from_url(url).ok()?.engine {
            EngineConfig::Memory(options) => Some(options.capacity_bytes),
            #[cfg(feature = "redis")]
            EngineConfig::Redis(_) => None,
        }
    }

    #[test]
    fn capacities_in_bytes_and_binary_units() {
        assert_eq!(capacity("memory://"), Some(100 * MIB));
        assert_eq!(capacity("memory:///"), Some(100 * MIB));
        assert_eq!(capacity("MEMORY://?capacity=1000"), Some(1000));
        assert_eq!(capacity("memory://?capacity=3KiB"), Some(3 * KIB));
        assert_eq!(capacity(" memory://?capacity=64MiB "), Some(64 * MIB));
        assert_eq!(capacity("memory://?capacity=2GiB"), Some(2048 * MIB));
    }

    #[test]
    fn everything_else_is_refused_without_being_repeated() {
        for url in [
            "",
            "memory",
            "memory:",
            "memory://host",
            "memory://?capacity=",
            "memory://?capacity=0",
            "memory://?capacity=-1",
            "memory://?capacity=+1",
            "memory://?capacity=1MB",
            "memory://?capacity=1.5MiB",
            "memory://?capacity=99999999999999999999GiB",
            "memory://?capacity=18446744073709551615KiB",
            "memory://?size=1",
            "memory://user:hunter2@host",
            "hunter2://user:hunter2@host",
            "memory://?hunter2=hunter2",
            "memory://?codec=hunter2",
        ] {
            let error = Config::from_url(url).unwrap_err();
            assert!(matches!(error, Error::InvalidConfig { .. }), "{url}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}");
        }
    }

    #[test]
    fn the_other_parameters() {
        let config = Config::from_url("memory://?namespace=a&codec=json&capacity=1MiB").unwrap();
        assert_eq!(config.settings.namespace.as_deref(), Some("a"));
        assert_eq!(config.settings.codec, Codec::Json);
    }

    #[cfg(not(feature = "redis"))]
    #[test]
    fn a_redis_url_names_the_feature_that_is_off() {
        for url in [
            "redis://:hunter2@host",
            "rediss://:hunter2@host",
            "unix:///hunter2",
        ] {
            let error = Config::from_url(url).unwrap_err();
            let Error::InvalidConfig { reason } = &error else {
                panic!("{error:?}");
            };
            assert!(reason.contains("feature `redis`"), "{reason}");
            assert!(!reason.contains("hunter2"), "{reason}");
        }
    }
}
