//! What the expressions of PromQL in the dashboard and in the alerts name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// One metric that an expression names.
#[derive(Debug, PartialEq)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    /// The labels in its braces, with the values that they are compared to: `a|b` gives two.
    pub(crate) labels: Vec<(String, Vec<String>)>,
}

/// An expression, where it is from, and what it names.
#[derive(Debug)]
pub(crate) struct Expression {
    pub(crate) place: String,
    pub(crate) selectors: Vec<Selector>,
    /// The labels that its results have: those of `by (…)` and of a legend.
    pub(crate) grouped: BTreeSet<String>,
}

impl Expression {
    pub(crate) fn read(place: &str, text: &str, legend: &str) -> Self {
        let by = text.split("by (").skip(1).filter_map(|rest| rest.split_once(')'));
        let shown = legend
            .split("{{")
            .skip(1)
            .filter_map(|rest| rest.split_once("}}"));
        let grouped = by
            .flat_map(|(names, _)| names.split(','))
            .chain(shown.map(|(name, _)| name));
        Self {
            place: place.to_owned(),
            selectors: selectors(text),
            grouped: grouped.map(|name| name.trim().to_owned()).collect(),
        }
    }
}

/// Every metric in the text. All of them begin with `cachestore_`.
fn selectors(text: &str) -> Vec<Selector> {
    let found = text.match_indices("cachestore_").map(|(at, _)| {
        let rest = &text[at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (metric, rest) = rest.split_at(end.unwrap_or(rest.len()));
        let braces = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        Selector {
            metric: metric.to_owned(),
            labels: braces.map(|(inner, _)| labels(inner)).unwrap_or_default(),
        }
    });
    found.collect()
}

/// The inside of braces. No value there has a comma or a quote.
fn labels(inner: &str) -> Vec<(String, Vec<String>)> {
    let label = |label: &str| {
        let (name, value) = label.split_once(['=', '!']).expect("a label is compared");
        let value = value.trim_start_matches(['=', '~']).trim_matches('"');
        (
            name.trim().to_owned(),
            value.split('|').map(str::to_owned).collect(),
        )
    };
    inner.split(',').map(label).collect()
}

/// The expressions of a Grafana dashboard, and the queries of its variables.
pub(crate) fn of_dashboard(text: &str) -> Vec<Expression> {
    let dashboard: Value = serde_json::from_str(text).unwrap();
    let string = |value: &Value| value.as_str().unwrap().to_owned();
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = string(&panel["title"]);
        if panel["type"] == "row" {
            continue;
        }
        for target in panel["targets"].as_array().unwrap() {
            found.push(Expression::read(
                &title,
                &string(&target["expr"]),
                &string(&target["legendFormat"]),
            ));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let query = variable["definition"].as_str().unwrap_or_default();
        found.push(Expression::read(&string(&variable["name"]), query, ""));
    }
    found
}

/// The expressions of a file of rules: on the line of `expr:`, or on the further lines if that has a `|`.
pub(crate) fn of_rules(text: &str) -> Vec<Expression> {
    let mut found = BTreeMap::new();
    let mut alert = "";
    let mut is_open = false;
    for line in text.lines() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix("- alert: ") {
            (alert, is_open) = (name, false);
        } else if let Some(rest) = line.strip_prefix("expr: ") {
            is_open = rest == "|";
            found.insert(alert, rest.trim_start_matches('|').to_owned());
        } else if ["for: ", "labels: ", "annotations:"]
            .iter()
            .any(|key| line.starts_with(key))
        {
            is_open = false;
        } else if is_open && let Some(expression) = found.get_mut(alert) {
            expression.push_str(line);
        }
    }
    assert_eq!(found.len(), text.matches("- alert: ").count());
    let read = |(alert, text): (&str, String)| Expression::read(alert, &text, "");
    found.into_iter().map(read).collect()
}

#[test]
fn an_expression_tells_what_it_names() {
    let text =
        r#"sum by (call, le) (rate(cachestore_x_bucket{job=~"$job",outcome!~"ok|held"}[5m])) / cachestore_y"#;
    let read = Expression::read("a panel", text, "{{call}}: {{ node }}");
    let label =
        |name: &str, values: &[&str]| (name.to_owned(), values.iter().map(|&v| v.to_owned()).collect());
    assert_eq!(
        read.selectors,
        [
            Selector {
                metric: "cachestore_x_bucket".to_owned(),
                labels: vec![label("job", &["$job"]), label("outcome", &["ok", "held"])],
            },
            Selector {
                metric: "cachestore_y".to_owned(),
                labels: vec![],
            },
        ]
    );
    assert!(read.grouped.iter().eq(["call", "le", "node"]), "{read:?}");
}

#[test]
fn rules_may_have_several_lines() {
    let text = "- alert: A\n  expr: |\n    cachestore_a\n      / cachestore_b > 1\n  for: 1m\n- alert: B\n  expr: cachestore_c == 0\n";
    let read = of_rules(text);
    let names = |expression: &Expression| {
        let selectors = expression.selectors.iter();
        selectors
            .map(|selector| selector.metric.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&read[0]), ["cachestore_a", "cachestore_b"]);
    assert_eq!(names(&read[1]), ["cachestore_c"]);
}
