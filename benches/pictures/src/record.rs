//! The recorded output of a bench.

use crate::{Result, project};

/// What a bench printed, with a first line that names the run.
#[derive(Debug)]
pub(crate) struct Record {
    name: String,
    /// Mode, machine and date.
    pub(crate) run: String,
    rows: Vec<Vec<String>>,
}

impl Record {
    /// Reads `benches/recorded/{name}.md`: a line `# ` and the run, and then rows of cells between bars.
    pub(crate) fn read(name: &str) -> Result<Self> {
        let path = project().join(format!("benches/recorded/{name}.md"));
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let run = text.lines().find_map(|line| line.strip_prefix("# "));
        let rows = text.lines().filter(|line| line.contains('|'));
        Ok(Self {
            name: name.to_owned(),
            run: run
                .ok_or(format!("{name}: the first line does not name the run"))?
                .to_owned(),
            rows: rows.map(cells).collect(),
        })
    }

    /// The number in a column of the first row that begins with these cells.
    pub(crate) fn number(&self, begin: &[&str], column: usize) -> Result<f64> {
        let row = self
            .rows
            .iter()
            .find(|row| row.iter().zip(begin).all(|(cell, wanted)| cell == wanted));
        let missing = || format!("{}: no row begins with {begin:?}", self.name);
        let cell = row.and_then(|row| row.get(column)).ok_or_else(missing)?;
        let number = cell.split(' ').next().unwrap_or_default();
        Ok(number
            .parse()
            .map_err(|_| format!("{}: `{cell}` is no number", self.name))?)
    }
}

fn cells(line: &str) -> Vec<String> {
    let line = line.trim().trim_start_matches('|').trim_end_matches('|');
    line.split('|').map(|cell| cell.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::cells;

    #[test]
    fn rows_are_read_with_bars_around_them_and_without() {
        assert_eq!(
            cells("| get, 1 task: moka |  266 ns | "),
            ["get, 1 task: moka", "266 ns"]
        );
        assert_eq!(cells("hand-off, p50 | 1.10 us"), ["hand-off, p50", "1.10 us"]);
    }
}
