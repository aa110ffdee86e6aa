//! Draws a board on a terminal of any size.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Padding, Paragraph, Row as TableRow, Table, Wrap};

use super::board::{Board, CallRow, Panel};
use crate::units;

/// A narrower terminal shows no trends, and fewer columns of calls.
const WIDE: u16 = 60;
const NAME: u16 = 18;
const FIGURE: u16 = 24;
const CALL: u16 = 10;
/// The most lines of a trouble.
const TROUBLE: usize = 4;
/// The columns of calls, and whether a narrow terminal shows them.
const COLUMNS: [(&str, bool); 4] = [
    ("calls / s", true),
    ("failed / s", false),
    ("p50", false),
    ("p99", true),
];

pub(super) fn draw(board: &Board, frame: &mut Frame<'_>) {
    let area = frame.area();
    let [head, mut rest] = split(area, 1);
    let every = format!("every {} · q quits ", units::span(board.every));
    frame.render_widget(Line::from(" cachestore-cli top").bold(), head);
    if area.width >= WIDE {
        frame.render_widget(Line::from(every).dim().right_aligned(), head);
    }
    let mut heights: Vec<u16> = board
        .panels
        .iter()
        .map(|panel| panel_height(panel, area.width))
        .collect();
    if !board.calls.is_empty() {
        heights.push(height(1 + board.calls.len()));
    }
    let has_gaps = fit(&mut heights, rest.height);
    for (at, height) in heights.into_iter().enumerate() {
        if has_gaps {
            rest = split(rest, 1)[1];
        }
        let [area, below] = split(rest, height);
        rest = below;
        match board.panels.get(at) {
            Some(panel) => draw_panel(panel, frame, area),
            None => draw_calls(&board.calls, frame, area),
        }
    }
}

/// The first lines, and those below.
fn split(area: Rect, lines: u16) -> [Rect; 2] {
    let lines = lines.min(area.height);
    let top = Rect {
        height: lines,
        ..area
    };
    let below = Rect {
        y: area.y + lines,
        height: area.height - lines,
        ..area
    };
    [top, below]
}

fn height(lines: usize) -> u16 {
    u16::try_from(lines).unwrap_or(u16::MAX)
}

fn panel_height(panel: &Panel, width: u16) -> u16 {
    height(1 + trouble_lines(panel, width) + panel.rows.len())
}

/// How many lines the trouble of a panel takes: words may leave a part of a line empty.
fn trouble_lines(panel: &Panel, width: u16) -> usize {
    let characters = panel
        .trouble
        .as_ref()
        .map_or(0, |trouble| trouble.chars().count());
    characters
        .div_ceil(usize::from(width.saturating_sub(10).max(1)))
        .min(TROUBLE)
}

/// Takes lines from the tallest until all have room. Answers whether there is room for a line above each, too.
fn fit(heights: &mut [u16], room: u16) -> bool {
    let sum = |heights: &[u16]| {
        heights
            .iter()
            .fold(0_u16, |sum, height| sum.saturating_add(*height))
    };
    while sum(heights) > room {
        let Some(tallest) = heights.iter_mut().max().filter(|tallest| **tallest > 0) else {
            break;
        };
        *tallest -= 1;
    }
    sum(heights).saturating_add(height(heights.len())) <= room
}

fn draw_panel(panel: &Panel, frame: &mut Frame<'_>, area: Rect) {
    let [title, mut rest] = split(area, 1);
    let spans = [
        Span::from(format!(" {}", panel.address)).bold(),
        Span::from(format!("  {}", panel.about)).dim(),
    ];
    frame.render_widget(Line::from_iter(spans), title);
    let mut style = Style::new();
    if let Some(trouble) = &panel.trouble {
        let [lines, below] = split(rest, height(trouble_lines(panel, area.width)));
        let block = Block::new().padding(Padding::left(1));
        let text = Paragraph::new(trouble.as_str())
            .wrap(Wrap { trim: true })
            .block(block);
        frame.render_widget(text.fg(Color::Red), lines);
        rest = below;
        // The figures are old.
        style = style.dim();
    }
    let trend = (area.width >= WIDE).then(|| area.width.saturating_sub(NAME + FIGURE + 5));
    let rows = panel.rows.iter().map(|row| {
        let mut cells = vec![name(row.name), right(&row.now)];
        if let Some(width) = trend {
            cells.push(Cell::from(panel.bars(row, usize::from(width))).fg(Color::Cyan));
        }
        TableRow::new(cells)
    });
    let widths = [
        Constraint::Length(NAME),
        Constraint::Length(FIGURE),
        Constraint::Length(trend.unwrap_or(0)),
    ];
    let widths = widths.into_iter().take(if trend.is_some() { 3 } else { 2 });
    frame.render_widget(Table::new(rows, widths).column_spacing(2).style(style), rest);
}

fn draw_calls(calls: &[CallRow], frame: &mut Frame<'_>, area: Rect) {
    let is_shown = |at: usize| area.width >= WIDE || COLUMNS[at].1;
    let shown: Vec<usize> = (0..COLUMNS.len()).filter(|at| is_shown(*at)).collect();
    let head = shown.iter().map(|at| right(COLUMNS[*at].0));
    let head = TableRow::new([name("call")].into_iter().chain(head)).bold();
    let rows = calls.iter().map(|call| {
        let figures = shown.iter().map(|at| right(&call.figures[*at]));
        TableRow::new([name(&call.name)].into_iter().chain(figures))
    });
    let widths = [Constraint::Length(NAME)].into_iter();
    let widths = widths.chain(shown.iter().map(|_| Constraint::Length(CALL)));
    frame.render_widget(Table::new(rows, widths).header(head).column_spacing(2), area);
}

fn name(name: &str) -> Cell<'static> {
    Cell::from(format!(" {name}"))
}

fn right(text: &str) -> Cell<'static> {
    Cell::from(Line::from(text.to_owned()).right_aligned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use tokio::time::Instant;

    use super::*;
    use crate::top::board::tests::{board, reading};

    /// The lines of a terminal of this size, without the blanks at their ends.
    fn screen(board: &Board, columns: u16, rows: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw(board, frame)).unwrap();
        let cells = terminal.backend().buffer().content();
        let lines = cells.chunks(usize::from(columns).max(1));
        lines
            .map(|line| {
                line.iter()
                    .map(|cell| cell.symbol())
                    .collect::<String>()
                    .trim_end()
                    .to_owned()
            })
            .collect()
    }

    /// A board after three readings, a second apart.
    fn running() -> Board {
        let (mut board, now) = (board(), Instant::now());
        for second in 0..3 {
            board.update(reading(second), now + Duration::from_secs(second));
        }
        board
    }

    #[test]
    fn all_figures_have_room_on_a_terminal_of_80_columns() {
        let wanted = "\u{20}cachestore-cli top                                         every 1 s · q quits
 redis://host:6379  Redis 7.0.15, primary, up 1 min
 look-ups that hit                    75.0 %                                 ▆▆
 commands / s                            100                                 ██
 memory                1.00 MiB of 64.00 MiB                                ███
 keys                                     12                                ███
 clients                                   3                                ███
 evicted / s                               0                                 ▁▁
 expired / s                               2                                 ▄█
 round trip                           250 µs                                ███
 http://host:9000/metrics
 reads that hit                       80.0 %                                 ▇▇
 near cache hits                      40.0 %                                 ▄▄
 reads / s                               100                                 ██
 calls / s                               250                                 ██
 lock waiters                     2, 12 held                                ▁▄█
 waiting requests                          –
 loads / s                                10                                 ██
 call                calls / s  failed / s         p50         p99
 get                       200           5      500 µs      990 µs
 set                        50           0           –           –";
        let lines = screen(&running(), 80, 21);
        assert_eq!(lines.join("\n"), wanted);
    }

    #[test]
    fn a_small_terminal_shows_what_matters_most() {
        let lines = screen(&running(), 44, 9);
        let wanted = [
            " cachestore-cli top",
            " redis://host:6379  Redis 7.0.15, primary, u",
            " look-ups that hit                    75.0 %",
            " commands / s                            100",
            " http://host:9000/metrics",
            " reads that hit                       80.0 %",
            " near cache hits                      40.0 %",
            " call                calls / s         p99",
            " get                       200      990 µs",
        ];
        assert_eq!(lines, wanted);
        for (columns, rows) in [(1, 1), (3, 2), (200, 3), (20, 200)] {
            assert_eq!(screen(&running(), columns, rows).len(), usize::from(rows));
        }
    }

    #[test]
    fn trouble_is_shown_above_the_last_figures() {
        let mut board = running();
        board.update(
            crate::source::Reading::failed("cannot reach the server"),
            Instant::now(),
        );
        let lines = screen(&board, 80, 24);
        assert_eq!(lines[1], " redis://host:6379  Redis 7.0.15, primary, up 1 min");
        assert_eq!(lines[2], " cannot reach the server");
        assert!(
            lines[4].contains("commands / s") && lines[4].contains("100"),
            "{lines:?}"
        );
    }
}
