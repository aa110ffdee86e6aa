//! A configuration from text: a URL, or a map of settings as a configuration file has it. It may hold a
//! password: no error here repeats what was given, and none of serde's own, which do, is passed on.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

#[cfg(feature = "redis")]
use super::RedisConfig;
use super::setting::apply;
use super::url::{self, Engine};
use super::{Config, MEMORY, MemoryConfig, Parameters, refuse};
use crate::error::{Error, Result};

impl Config {
    /// What a URL names, changed by further settings.
    pub(super) fn read(url: &str, more: Parameters) -> Result<Self> {
        let (engine, mut given) = url::parse(url)?;
        given.extend(more);
        match engine {
            #[cfg(feature = "redis")]
            Engine::Redis(target) => RedisConfig::named(target, &given).map(Self::from),
            Engine::Memory => {
                let mut config = MemoryConfig::default();
                apply(&given, &mut config.settings, &mut config.options, MEMORY)?;
                Ok(config.into())
            }
        }
    }
}

/// Reads a URL, for command-line parsers and others that use [`FromStr`]. See [`Config::from_url`] for the parameters
/// and errors.
///
/// ```
/// use cachestore::Config;
///
/// let config: Config = "memory://?capacity=64MiB&ttl=5s".parse()?;
/// # let _ = config;
/// # Ok::<(), cachestore::Error>(())
/// ```
impl FromStr for Config {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self> {
        Self::from_url(url)
    }
}

/// Reads a URL: see [`Config::from_url`].
impl TryFrom<&str> for Config {
    type Error = Error;

    fn try_from(url: &str) -> Result<Self> {
        Self::from_url(url)
    }
}

/// Reads a URL: see [`Config::from_url`].
impl TryFrom<String> for Config {
    type Error = Error;

    fn try_from(url: String) -> Result<Self> {
        Self::from_url(&url)
    }
}

/// Reads a URL, or a map with a `url` and settings by the names that [`Config::from_url`] lists. A value of the map is
/// a string, a number or a boolean. `null` counts as not given. A setting may not be both in the URL and in the map.
/// Errors never repeat the input.
///
/// ```
/// use cachestore::Config;
///
/// #[derive(serde::Deserialize)]
/// struct App {
///     cache: Config,
/// }
///
/// let file = r#"{ "cache": { "url": "memory://", "capacity": "64MiB", "ttl": "5m" } }"#;
/// let app: App = serde_json::from_str(file).unwrap();
/// # let _ = app.cache;
/// ```
impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Given::deserialize(deserializer)?
            .configuration()
            .map_err(D::Error::custom)
    }
}

/// What was given, of any type: a type that does not fit is refused here and not by serde, which quotes it.
enum Given {
    Nothing,
    Text(String),
    Map(Vec<(Given, Given)>),
    Other,
}

impl Given {
    fn configuration(self) -> Result<Config> {
        let entries = match self {
            Given::Text(url) => return Config::from_url(&url),
            Given::Map(entries) => entries,
            Given::Nothing | Given::Other => {
                return refuse(
                    "a store is configured by a URL, or by a map of settings with a url".to_owned(),
                );
            }
        };
        let (mut url, mut more) = (None, Parameters::new());
        for (name, value) in entries {
            match (name, value) {
                (Given::Text(_), Given::Nothing) => {}
                (Given::Text(name), Given::Text(value)) if name == "url" => {
                    if url.replace(value).is_some() {
                        return refuse("url is given twice".to_owned());
                    }
                }
                (Given::Text(name), Given::Text(value)) => more.push((name, value)),
                _ => return refuse("a setting is a string, a number or a boolean".to_owned()),
            }
        }
        match url {
            Some(url) => Config::read(&url, more),
            None => refuse("a map of settings needs a url, such as memory:// or redis://host".to_owned()),
        }
    }
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

/// A number or a boolean is the text that a URL would have in its place.
macro_rules! as_text {
    ($($visit:ident($type:ty))*) => {$(
        fn $visit<E>(self, value: $type) -> std::result::Result<Given, E> {
            Ok(Given::Text(value.to_string()))
        }
    )*};
}

impl<'de> Visitor<'de> for Any {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store's URL, or a map of settings with a url")
    }

    as_text! {
        visit_bool(bool)
        visit_i64(i64)
        visit_i128(i128)
        visit_u64(u64)
        visit_u128(u128)
        visit_f64(f64)
        visit_str(&str)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> std::result::Result<Given, E> {
        Ok(Given::Other)
    }

    fn visit_none<E>(self) -> std::result::Result<Given, E> {
        Ok(Given::Nothing)
    }

    fn visit_unit<E>(self) -> std::result::Result<Given, E> {
        Ok(Given::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> std::result::Result<Given, D::Error> {
        Given::deserialize(inner)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> std::result::Result<Given, D::Error> {
        Given::deserialize(inner)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> std::result::Result<Given, A::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Given::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Given, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Given::Map(entries))
    }
}
