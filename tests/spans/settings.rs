//! The level and the target of spans.

use cachestore::{Config, MemoryConfig};
use tracing::Level;
use tracing::level_filters::LevelFilter;

use crate::seen::{Seen, SpanSeen};
use crate::support::open;

/// The span of a `ping` to a store of this configuration.
async fn pinged(config: impl Into<Config>) -> Option<SpanSeen> {
    let seen = Seen::begin();
    let store = open(config).await;
    let mark = seen.mark();
    store.ping().await.unwrap();
    seen.all().into_iter().nth(mark)
}

async fn level_and_target(config: impl Into<Config>) -> (Level, &'static str) {
    let span = pinged(config).await.unwrap();
    (span.level, span.target)
}

#[tokio::test(start_paused = true)]
async fn spans_have_the_level_and_the_target_of_the_configuration() {
    let default = (Level::DEBUG, "cachestore::calls");
    assert_eq!(level_and_target(Config::memory()).await, default);
    let set = Config::memory()
        .span_level(Level::INFO)
        .span_target("shop::cache");
    assert_eq!(level_and_target(set).await, (Level::INFO, "shop::cache"));
    let own = MemoryConfig::default().span_level(Level::TRACE);
    assert_eq!(level_and_target(own).await, (Level::TRACE, "cachestore::calls"));
}

#[tokio::test(start_paused = true)]
async fn urls_and_files_set_them() {
    for (word, level) in [
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ] {
        let url = format!("memory://?span_level={word}&span_target=app");
        let config = Config::from_url(&url).unwrap();
        assert_eq!(config.settings().span_level, level);
        assert_eq!(level_and_target(config).await, (level, "app"));
    }
    let file = r#"{ "url": "memory://", "span_level": "warn", "span_target": "app" }"#;
    let config: Config = serde_json::from_str(file).unwrap();
    assert_eq!(level_and_target(config).await, (Level::WARN, "app"));
}

#[tokio::test(start_paused = true)]
async fn off_makes_no_spans() {
    assert!(
        pinged(Config::memory().span_level(LevelFilter::OFF))
            .await
            .is_none()
    );
    let config = Config::from_url("memory://?span_level=off").unwrap();
    assert_eq!(config.settings().span_level, LevelFilter::OFF);
    assert!(pinged(config).await.is_none());
}

#[test]
fn what_filters_cannot_name_is_refused() {
    let long = "a".repeat(129);
    for target in ["", "a b", "a=b", "a,b", "a[b", "ä", &long] {
        let refused = Config::memory().span_target(target);
        let opened = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(cachestore::Store::open(refused));
        let message = opened.unwrap_err().to_string();
        assert!(message.contains("span_target must be"), "{message}");
    }
    for parameters in ["span_level=loud", "span_level=5", "span_target=a%20b"] {
        assert!(
            Config::from_url(&format!("memory://?{parameters}")).is_err(),
            "{parameters}"
        );
    }
}
