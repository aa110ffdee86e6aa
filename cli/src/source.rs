//! Where figures and entries come from: a store on a server, and the endpoint of a process.

use anyhow::{Result, anyhow};
use cachestore::{Config, EngineKind, Error, Store};
use tokio::sync::OnceCell;

use crate::Usage;
use crate::arguments::{Metrics, StoreArguments};
use crate::metrics::{Endpoint, Process};
use crate::server::Server;

/// A store that is not opened yet.
#[derive(Debug)]
pub(crate) struct Target {
    config: Config,
    /// The URL without user, password and parameters.
    pub(crate) address: String,
    /// The namespaces inside the one of the URL, if it names one.
    inner: Option<String>,
    /// The path of the namespace, from the root.
    pub(crate) namespace: Option<String>,
}

impl Target {
    /// Reads the URL. Errors do not repeat it.
    pub(crate) fn read(arguments: StoreArguments) -> Result<Self> {
        let StoreArguments {
            url,
            namespace: inner,
        } = arguments;
        let url = url.filter(|url| !url.trim().is_empty());
        let url = url.ok_or_else(|| Usage::new("no store is named: give --url, or set CACHESTORE_URL"))?;
        let config = Config::from_url(&url).map_err(|error| Usage::new(error.to_string()))?;
        if config.engine() == EngineKind::Memory {
            return Err(Usage::new(
                "a memory store lives inside its process: look at it by `stats --metrics` and `top --metrics`",
            )
            .into());
        }
        let outer = config.settings().namespace.clone();
        let path: Vec<String> = outer.into_iter().chain(inner.clone()).collect();
        Ok(Self {
            config,
            address: address(&url),
            inner,
            namespace: (!path.is_empty()).then(|| path.join("/")),
        })
    }

    pub(crate) fn is_in_cluster(&self) -> bool {
        let scheme = self.address.split_once("://").map(|(scheme, _)| scheme);
        scheme.is_some_and(|scheme| scheme.to_ascii_lowercase().ends_with("-cluster"))
    }

    pub(crate) async fn open(&self) -> Result<Store> {
        let opened = Store::open(self.config.clone()).await;
        let mut store = opened.map_err(|error| unopened(&self.address, error))?;
        for name in self.inner.iter().flat_map(|path| path.split('/')) {
            store = store
                .namespace(name)
                .map_err(|error| Usage::new(error.to_string()))?;
        }
        Ok(store)
    }
}

fn names_memory(url: &str) -> bool {
    Config::from_url(url).is_ok_and(|config| config.engine() == EngineKind::Memory)
}

fn unopened(address: &str, error: Error) -> anyhow::Error {
    let advice = match error {
        Error::Unavailable(_) | Error::Timeout { .. } => ". Is the server running, and is the URL right?",
        _ => "",
    };
    anyhow!(
        "cannot open the store at {address}: {:#}{advice}",
        anyhow::Error::new(error)
    )
}

/// The scheme, the host and the database of a URL that the library has accepted.
fn address(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => url.to_owned(),
    }
}

/// All that `stats` and `top` look at.
#[derive(Debug)]
pub(crate) struct Sources {
    server: Option<Remote>,
    endpoint: Option<Endpoint>,
}

/// A store that is opened when it is first asked, and again if that has failed.
#[derive(Debug)]
struct Remote {
    target: Target,
    store: OnceCell<Store>,
}

impl Remote {
    async fn ask(&self) -> Result<Server> {
        let store = self.store.get_or_try_init(|| self.target.open()).await?;
        Server::ask(store).await
    }
}

/// What they told at one time.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) server: Option<Result<Server>>,
    pub(crate) process: Option<Result<Process>>,
}

#[cfg(test)]
impl Reading {
    /// A reading that both sources failed.
    pub(crate) fn failed(why: &'static str) -> Self {
        Self {
            server: Some(Err(anyhow!(why))),
            process: Some(Err(anyhow!(why))),
        }
    }
}

impl Sources {
    pub(crate) fn named(arguments: StoreArguments, metrics: Metrics) -> Result<Self> {
        let endpoint = metrics.metrics.filter(|url| !url.trim().is_empty());
        let endpoint = endpoint.map(|url| Endpoint::read(&url)).transpose();
        let endpoint = endpoint.map_err(|error| Usage::new(format!("{error:#}")))?;
        let url = arguments.url.as_deref().filter(|url| !url.trim().is_empty());
        // The environment of a process with a memory store: its endpoint tells all.
        let is_named = url.is_some_and(|url| endpoint.is_none() || !names_memory(url));
        if !is_named && endpoint.is_none() {
            return Err(Usage::new("nothing to look at: give --url, --metrics or both").into());
        }
        let target = is_named.then(|| Target::read(arguments)).transpose()?;
        let server = target.map(|target| Remote {
            target,
            store: OnceCell::new(),
        });
        Ok(Self { server, endpoint })
    }

    /// Where the server is.
    pub(crate) fn address(&self) -> Option<&str> {
        self.server.as_ref().map(|server| server.target.address.as_str())
    }

    /// Where the process tells its metrics.
    pub(crate) fn endpoint(&self) -> Option<String> {
        self.endpoint.as_ref().map(Endpoint::to_string)
    }

    /// Asks all of them at once.
    pub(crate) async fn read(&self) -> Reading {
        let server = async { Some(self.server.as_ref()?.ask().await) };
        let process = async { Some(self.endpoint.as_ref()?.ask().await) };
        let (server, process) = tokio::join!(server, process);
        Reading { server, process }
    }

    pub(crate) async fn close(self) {
        if let Some(store) = self.server.and_then(|server| server.store.into_inner()) {
            // All that was asked is answered: a failure to close changes nothing.
            let _ = store.close().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_may_be_in_capitals() {
        for (url, is_in_cluster) in [
            ("REDIS-CLUSTER://localhost", true),
            ("Rediss-Cluster://localhost", true),
            ("redis-cluster://localhost", true),
            ("REDIS://localhost", false),
        ] {
            let arguments = StoreArguments {
                url: Some(url.to_owned()),
                namespace: None,
            };
            let target = Target::read(arguments).unwrap();
            assert_eq!(target.is_in_cluster(), is_in_cluster, "{url}");
        }
    }

    #[test]
    fn an_address_has_no_secrets() {
        for (url, shown) in [
            ("redis://localhost:6379/0", "redis://localhost:6379/0"),
            ("redis://user:pa@ss@host:1/2?ttl=5s", "redis://host:1/2"),
            ("rediss://:secret@host", "rediss://host"),
            ("unix:///run/redis.sock?user=a&pass=b", "unix:///run/redis.sock"),
            (
                "redis-sentinel://u:p@s1:26379/0?node=s2:26379#secret",
                "redis-sentinel://s1:26379/0",
            ),
        ] {
            assert_eq!(address(url), shown);
        }
    }
}
