//! The example as a process: what it serves, and that the dashboard and the alerts name what it exports.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[cfg(feature = "otlp")]
mod collector;
mod expressions;
mod service;

use std::collections::{BTreeMap, BTreeSet};

use expressions::{Expression, of_dashboard, of_rules};
use service::{Redis, Service, ended, wait_for};

const DASHBOARD: &str = include_str!("../../dashboard.json");
const ALERTS: &str = include_str!("../../alerts.yml");
const GUIDE: &str = include_str!("../../../../docs/observability.md");
/// The labels that Prometheus adds.
const OF_PROMETHEUS: [&str; 2] = ["job", "instance"];

/// Metrics, each with its labels and their values.
type Exported = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn add(exported: &mut Exported, text: &str) {
    for line in text.lines().filter(|line| line.starts_with("cachestore_")) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let of_name = exported.entry(name.to_owned()).or_default();
        // Every metric has labels, and no value has a comma.
        for label in labels
            .trim_end_matches('}')
            .split(',')
            .filter(|label| !label.is_empty())
        {
            let (label, value) = label.split_once('=').unwrap();
            let value = value.trim_matches('"').to_owned();
            of_name.entry(label.to_owned()).or_default().insert(value);
        }
    }
}

/// The first cells of the rows of the guide that begin with this.
fn documented(beginning: &str) -> BTreeSet<&'static str> {
    let rows = GUIDE.lines().filter(|line| line.starts_with(beginning));
    let names = rows.flat_map(|row| row.split('|').nth(1).unwrap().split(','));
    names.map(|name| name.trim().trim_matches('`')).collect()
}

/// The outcomes in the guide: the rows of their table.
fn outcomes() -> BTreeSet<&'static str> {
    let (_, table) = GUIDE.split_once("| outcome | meaning |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let names = rows.flat_map(|row| row.split('|').nth(1).unwrap().split(','));
    names.map(|name| name.trim().trim_matches('`')).collect()
}

/// What the expression names and nobody exports.
fn mistakes(expression: &Expression, exported: &Exported, outcomes: &BTreeSet<&str>) -> Vec<String> {
    let mut found = Vec::new();
    let mut known: BTreeSet<&str> = OF_PROMETHEUS.into();
    for selector in &expression.selectors {
        let metric = &selector.metric;
        let Some(labels) = exported.get(metric) else {
            found.push(format!("no metric {metric}"));
            continue;
        };
        known.extend(labels.keys().map(String::as_str));
        for (label, values) in &selector.labels {
            let is_known = |value: &&String| match &**label {
                "outcome" => outcomes.contains(&***value),
                "call" => {
                    let beginning = value.trim_end_matches(".*");
                    labels["call"].iter().any(|call| call.starts_with(beginning))
                }
                _ => value.starts_with('$') || labels[label].contains(*value),
            };
            if OF_PROMETHEUS.contains(&&**label) {
                continue;
            } else if !labels.contains_key(label) {
                found.push(format!("no label {label} of {metric}"));
            } else if let Some(value) = values.iter().find(|value| !is_known(value)) {
                found.push(format!("{label} of {metric} is never {value}"));
            }
        }
    }
    let unknown = expression
        .grouped
        .iter()
        .filter(|label| !known.contains(&***label));
    found.extend(unknown.map(|label| format!("no metric here has the label {label}")));
    found
        .into_iter()
        .map(|mistake| format!("{}: {mistake}", expression.place))
        .collect()
}

#[test]
fn the_dashboard_and_the_alerts_name_what_is_exported() {
    let redis = Redis::start();
    let services = [
        Service::start("memory://?capacity=1MiB&near_cache=64KiB"),
        Service::start(&redis.url()),
    ];
    let (dashboard, alerts) = (of_dashboard(DASHBOARD), of_rules(ALERTS));
    let outcomes = outcomes();
    let mut left = Vec::new();
    let mut exported = Exported::new();
    // Some metrics are exported when they first occur.
    wait_for("end of the mistakes: see above", || {
        for service in &services {
            add(&mut exported, &service.metrics());
        }
        let expressions = dashboard.iter().chain(&alerts);
        let mistakes = expressions.flat_map(|expression| mistakes(expression, &exported, &outcomes));
        let mistakes: Vec<_> = mistakes.collect();
        if mistakes != left {
            eprintln!("{mistakes:#?}");
            left = mistakes;
        }
        left.is_empty().then_some(())
    });

    // And the dashboard shows every metric that the guide names.
    let shown: BTreeSet<&str> = dashboard
        .iter()
        .flat_map(|expression| &expression.selectors)
        .map(|selector| selector.metric.trim_end_matches("_bucket"))
        .collect();
    assert_eq!(shown, documented("| `cachestore_"));
}

#[test]
fn mistakes_are_found() {
    let mut exported = Exported::new();
    add(
        &mut exported,
        "# HELP cachestore_a A\ncachestore_a_total{engine=\"memory\",tier=\"near\"} 1\n",
    );
    let found = |text, legend| {
        let expression = Expression::read("p", text, legend);
        mistakes(&expression, &exported, &["ok"].into()).join(", ")
    };
    assert_eq!(
        found(
            "rate(cachestore_a_total{tier=\"near\",job=~\"$job\"}[5m])",
            "{{tier}} {{job}}"
        ),
        ""
    );
    assert_eq!(found("cachestore_a", ""), "p: no metric cachestore_a");
    assert_eq!(
        found("cachestore_a_total{teir=\"near\"}", ""),
        "p: no label teir of cachestore_a_total"
    );
    assert_eq!(
        found("cachestore_a_total{tier=\"nera|near\"}", ""),
        "p: tier of cachestore_a_total is never nera"
    );
    assert_eq!(
        found("sum by (node) (cachestore_a_total)", ""),
        "p: no metric here has the label node"
    );
}

#[test]
fn each_alert_has_a_case() {
    let cases = include_str!("../../alerts.test.yml");
    for alert in of_rules(ALERTS) {
        let case = format!("alertname=\"{}\"", alert.place);
        assert!(
            cases.contains(&case),
            "alerts.test.yml has no case for {}",
            alert.place
        );
    }
}

#[test]
fn products_are_served_from_the_cache() {
    let service = Service::start("memory://");
    // The source fails now and then.
    let ask = |request: &str| {
        wait_for("answer", || {
            let (head, body) = service.ask(request);
            let status = head.split(' ').nth(1)?.to_owned();
            (status != "503").then_some((status, body))
        })
    };
    let (status, body) = ask("GET /products/7");
    assert!(
        status == "200" && body.starts_with("Product 7: "),
        "{status} {body}"
    );
    assert_eq!(ask("PUT /products/7/price/4321").0, "204");
    // A visitor may have changed the price again.
    assert!(ask("GET /products/7").1.ends_with(" cents\n"));
    assert!(ask("POST /carts/1000/products/7").1.ends_with(" pieces\n"));
    for request in ["GET /products/4000000000", "PUT /products/4000000000/price/1"] {
        assert_eq!(ask(request).0, "404", "{request}");
    }
}

#[test]
fn the_page_and_its_files_are_served() {
    let service = Service::start("memory://");
    let (head, page) = service.ask("GET /");
    assert!(head.contains("content-type: text/html"), "{head}");
    for file in ["page.js", "page.css", "dashboard.json"] {
        assert!(page.contains(file), "{page}");
        assert!(
            service.ask(&format!("GET /{file}")).0.starts_with("HTTP/1.1 200"),
            "{file}"
        );
    }
    let (head, _) = service.ask("GET /metrics");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
}

#[test]
fn it_ends_after_a_while() {
    let (output, text) = ended(&["--listen", "127.0.0.1:0", "--seconds", "1", "--visitors", "0"]);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("/metrics"), "{text}");
}

#[test]
fn errors_tell_what_to_do() {
    let elsewhere = "redis://user:hidden@127.0.0.1:1/0";
    for (arguments, told) in [
        (&["--listen", "nowhere"][..], "choose another address by --listen"),
        (&["--url", elsewhere], "is the server of --url running?"),
        (&["--visitors", "many"], "--visitors"),
        #[cfg(feature = "otlp")]
        (&["--otlp", "https://127.0.0.1:1"], "must begin with http://"),
        #[cfg(not(feature = "otlp"))]
        (&["--otlp", "http://127.0.0.1:1"], "--features otlp"),
    ] {
        let (output, text) = ended(arguments);
        assert!(!output.status.success() && text.contains(told), "{text}");
        assert!(!text.contains("hidden"), "{text}");
    }
}
