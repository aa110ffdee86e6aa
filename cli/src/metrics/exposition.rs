//! The text in which a process tells its metrics to Prometheus.

/// One line of it: a series and its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    labels: Vec<(String, String)>,
    pub(crate) value: f64,
}

impl Sample {
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        let mut labels = self.labels.iter();
        labels.find_map(|(label, value)| (label == name).then_some(value.as_str()))
    }

    /// Reads `name{label="value",…} value`. A timestamp or an exemplar behind the value does not count.
    fn read(line: &str) -> Option<Self> {
        let (name, mut rest) = line.split_at(line.find(['{', ' ', '\t'])?);
        let mut labels = Vec::new();
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner.trim_start();
            loop {
                if let Some(behind) = rest.strip_prefix('}') {
                    rest = behind;
                    break;
                }
                let (label, quoted) = rest.split_once('=')?;
                let (value, behind) = unquoted(quoted.trim_start().strip_prefix('"')?)?;
                labels.push((label.trim().to_owned(), value));
                let behind = behind.trim_start();
                rest = behind.strip_prefix(',').unwrap_or(behind).trim_start();
            }
        }
        let value = rest.split_ascii_whitespace().next()?;
        Some(Self {
            name: name.to_owned(),
            labels,
            value: value.parse().ok()?,
        })
    }
}

/// The text up to the next quote, and what is behind the quote.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            (_, c) => value.push(c),
        }
    }
}

/// The samples whose names begin with `prefix`. An error is the number of a line that is no sample.
pub(crate) fn samples<'a>(
    text: &'a str,
    prefix: &'a str,
) -> impl Iterator<Item = Result<Sample, usize>> + 'a {
    let lines = text.lines().zip(1..);
    lines
        .filter(move |(line, _)| line.starts_with(prefix))
        .map(|(line, number)| Sample::read(line).ok_or(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = concat!(
        "# HELP cachestore_hits_total Reads\n",
        "# TYPE cachestore_hits_total counter\n",
        "cachestore_hits_total{engine=\"memory\",tier=\"near\"} 12\n",
        "other_total 1\n",
        "cachestore_queue_depth 3 1700000000000\n",
        "cachestore_x{a=\"q\\\"\\\\\\n, }\", b=\"\",} 1.5e-3 # {trace=\"1\"} 2\n",
        "cachestore_d_bucket{le=\"+Inf\"} +Inf\n",
        "# EOF\n",
    );

    #[test]
    fn samples_are_read_with_their_labels() {
        let read: Result<Vec<Sample>, usize> = samples(TEXT, "cachestore_").collect();
        let read = read.unwrap();
        let values: Vec<_> = read
            .iter()
            .map(|sample| (sample.name.as_str(), sample.value))
            .collect();
        assert_eq!(
            values,
            [
                ("cachestore_hits_total", 12.0),
                ("cachestore_queue_depth", 3.0),
                ("cachestore_x", 0.0015),
                ("cachestore_d_bucket", f64::INFINITY),
            ]
        );
        assert_eq!(read[0].label("tier"), Some("near"));
        assert_eq!(read[0].label("node"), None);
        assert_eq!(
            (read[2].label("a"), read[2].label("b")),
            (Some("q\"\\\n, }"), Some(""))
        );
    }

    #[test]
    fn a_line_that_is_no_sample_is_named() {
        for wrong in [
            "x",
            "x{",
            "x{a} 1",
            "x{a=\"b} 1",
            "x{a=\"b\"}",
            "x one",
            "x{a=\"b\\",
        ] {
            let read: Vec<_> = samples(wrong, "x").collect();
            assert_eq!(read, [Err(1)], "{wrong}");
        }
    }
}
