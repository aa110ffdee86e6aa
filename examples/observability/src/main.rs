//! A shop that reads its products through a cache, and shows how the cache does: metrics for Prometheus, spans for
//! OpenTelemetry, and a dashboard.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

mod shop;
mod source;
mod telemetry;
mod visitors;

use std::fmt::Display;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::{get, post, put};
use cachestore::{Config, Store};
use clap::Parser;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

use shop::Shop;
use telemetry::{Metrics, Spans};

/// Runs a shop over a cache, with visitors, and serves its metrics and a dashboard.
#[derive(Parser)]
struct Options {
    /// Where to serve the dashboard, and the metrics under /metrics
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9000")]
    listen: String,
    /// The store: memory://, redis://localhost:6379, ..
    #[arg(long, env = "CACHESTORE_URL", hide_env_values = true)]
    #[arg(default_value = "memory://?capacity=2MiB&near_cache=256KiB")]
    url: String,
    /// How many visitors use the shop at once
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u16).range(..=1000))]
    visitors: u16,
    /// End after this many seconds instead of on Ctrl-C
    #[arg(long)]
    seconds: Option<u64>,
    /// Send spans to this OpenTelemetry collector, for example http://localhost:4318. Needs the feature `otlp`
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
}

/// The files of the dashboard: path, type and content.
const FILES: [(&str, &str, &str); 5] = [
    ("/", "text/html", include_str!("../page/index.html")),
    ("/page.css", "text/css", include_str!("../page/page.css")),
    ("/page.js", "text/javascript", include_str!("../page/page.js")),
    ("/promql.js", "text/javascript", include_str!("../page/promql.js")),
    (
        "/dashboard.json",
        "application/json",
        include_str!("../dashboard.json"),
    ),
];

/// Strangers learn only that it failed.
fn refused(error: impl Display) -> StatusCode {
    tracing::warn!("refused: {error}");
    StatusCode::SERVICE_UNAVAILABLE
}

async fn product(State(shop): State<Shop>, Path(id): Path<u32>) -> Result<String, StatusCode> {
    let product = shop.product(id).await.map_err(refused)?;
    let product = product.ok_or(StatusCode::NOT_FOUND)?;
    Ok(format!("{}: {} cents\n", product.name, product.cents))
}

async fn price(
    State(shop): State<Shop>,
    Path((id, cents)): Path<(u32, u32)>,
) -> Result<StatusCode, StatusCode> {
    let known = shop.set_price(id, cents).await.map_err(refused)?;
    Ok(if known {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    })
}

async fn order(State(shop): State<Shop>, Path((cart, id)): Path<(u32, u32)>) -> Result<String, StatusCode> {
    let pieces = shop.order(cart, id).await.map_err(refused)?;
    Ok(format!("{pieces} pieces\n"))
}

fn routes(shop: Shop, metrics: Metrics) -> Router {
    let metrics = move || {
        let text = metrics.render();
        async { ([(CONTENT_TYPE, Metrics::CONTENT_TYPE)], text) }
    };
    let routes = Router::new()
        .route("/products/{id}", get(product))
        .route("/products/{id}/price/{cents}", put(price))
        .route("/carts/{cart}/products/{id}", post(order))
        .route("/metrics", get(metrics));
    let files = FILES.into_iter().fold(routes, |routes, (path, kind, content)| {
        routes.route(path, get(async move || ([(CONTENT_TYPE, kind)], content)))
    });
    files.with_state(shop)
}

/// Waits for the time that was asked for, or for Ctrl-C.
async fn end(seconds: Option<u64>) -> anyhow::Result<()> {
    match seconds {
        Some(seconds) => sleep(Duration::from_secs(seconds)).await,
        None => tokio::signal::ctrl_c().await?,
    }
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let spans = Spans::start(options.otlp.as_deref())?;
    // Before the store is opened: it looks for a recorder once.
    let metrics = Metrics::install()?;
    let opened = Store::open(Config::from_url(&options.url)?).await;
    let store = opened.context("cannot open the store: is the server of --url running?")?;
    let shop = Shop::new(store.namespace("shop")?.metrics_label("shop"));

    let address = &options.listen;
    let listener = TcpListener::bind(address).await;
    let listener = listener
        .with_context(|| format!("cannot listen on {address}: choose another address by --listen"))?;
    let address = listener.local_addr()?;
    println!("http://{address}/         the dashboard");
    println!("http://{address}/metrics  for Prometheus and `cachestore-cli top --metrics`");

    let mut tasks = JoinSet::new();
    tasks.spawn(metrics.clone().keep_up());
    for _ in 0..options.visitors {
        tasks.spawn(visitors::visit(shop.clone()));
    }
    let served = tokio::select! {
        served = axum::serve(listener, routes(shop, metrics)) => served.context("the server has failed"),
        ended = end(options.seconds) => ended,
    };
    tasks.shutdown().await;
    store.close().await?;
    spans.flush().await?;
    served
}
