//! A namespace for each tenant: equal keys stay apart, and one tenant's values are cleared alone.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use cachestore::{Config, Result, Store};
use clap::Parser;

/// Keeps the values of tenants apart.
#[derive(Parser)]
struct Options {
    /// The store: memory://, redis://localhost:6379, ..
    #[arg(long, env = "CACHESTORE_URL", hide_env_values = true)]
    #[arg(default_value = "memory://")]
    url: String,
}

/// What a request handler is given: it cannot name the keys of another tenant.
struct Tenant(Store);

impl Tenant {
    /// A tenant's name becomes a part of keys: `A-Z a-z 0-9 . _ -`, else it is refused.
    fn of(store: &Store, name: &str) -> Result<Self> {
        Ok(Self(store.namespace("tenants")?.namespace(name)?))
    }

    async fn show(&self, name: &str) -> Result<()> {
        let found = self.0.get_many(["plan", "limits"]).await?;
        let [plan, limits] = [0, 1].map(|at| found[at].as_deref().unwrap_or(b"-").escape_ascii().to_string());
        println!("{name:<8} {plan:<10} {limits}");
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let store = Store::open(Config::from_url(&Options::parse().url)?).await?;
    let tenants = [("acme", "gold", "100 users"), ("globex", "silver", "10 users")];
    for (name, plan, limits) in tenants {
        let Tenant(cache) = Tenant::of(&store, name)?;
        cache.set("plan", plan).await?;
        // Names of dependencies belong to the namespace too.
        cache.set("limits", limits).depends_on(["plan"]).await?;
    }
    let show = async |what: &str| {
        println!("\n{what}\n{:<8} {:<10} limits", "tenant", "plan");
        for (name, ..) in tenants {
            Tenant::of(&store, name)?.show(name).await?;
        }
        Ok::<_, cachestore::Error>(())
    };
    show("as written").await?;
    Tenant::of(&store, "acme")?.0.invalidate(["plan"]).await?;
    show("acme's plan has changed").await?;
    Tenant::of(&store, "globex")?.0.clear().await?;
    show("globex has been cleared").await?;
    if let Err(error) = Tenant::of(&store, "acme:plan") {
        println!("\na tenant named \"acme:plan\": {error}");
    }
    Ok(store.close().await?)
}
