//! What is written to standard output.

use std::fmt;
use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;

use crate::escape::PrintableJson;

/// Standard output. It tells a reader that has gone from a broken connection to a server.
#[derive(Debug)]
pub(crate) struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    pub(crate) fn new() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }

    /// Whether the error is that nobody reads the output any more.
    pub(crate) fn has_lost_its_reader(error: &anyhow::Error) -> bool {
        let mut causes = error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<io::Error>());
        causes.any(|cause| cause.get_ref().is_some_and(|inner| inner.is::<NoReader>()))
    }

    fn explain(error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, NoReader),
            _ => error,
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(Self::explain)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(Self::explain)
    }
}

#[derive(Debug)]
struct NoReader;

impl fmt::Display for NoReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads the output")
    }
}

impl std::error::Error for NoReader {}

/// Writes a value as one line of JSON.
pub(crate) fn json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, PrintableJson);
    // Back to the error of the writer, which the caller knows.
    value.serialize(&mut serializer).map_err(io::Error::from)?;
    writeln!(out)
}

/// Rows whose columns are aligned: the first to the left, the others to the right.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(head: [&str; N]) -> Self {
        let rows = vec![head.map(str::to_owned)];
        Self { rows }
    }

    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &self.rows {
            for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
                match at {
                    0 => write!(out, "{cell:<width$}")?,
                    _ => write!(out, "  {cell:>width$}")?,
                }
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

/// Named figures, one a line, their names padded to one width.
pub(crate) fn figures(out: &mut impl Write, figures: &[(&str, String)]) -> io::Result<()> {
    let width = figures.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in figures {
        writeln!(out, "{name:<width$}  {value}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(["call", "calls"]);
        table.row(["get".to_owned(), "12".to_owned()]);
        table.row(["get_or_load".to_owned(), "3 µs".to_owned()]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        let wanted = "call         calls\nget             12\nget_or_load   3 µs\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }
}
