//! Figures as they change, on the whole terminal.

mod board;
mod trend;
mod view;

use std::io::{self, IsTerminal};
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, Result};
use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures_util::{StreamExt, stream};
use ratatui::DefaultTerminal;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::board::Board;
use crate::Usage;
use crate::source::Sources;

pub(crate) fn check_terminal() -> Result<()> {
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        return Ok(());
    }
    Err(Usage::new("`top` needs a terminal: use `stats` to print the figures once").into())
}

/// The terminal while `top` has it. It is given back on drop, and by the hook of `ratatui` on a panic.
struct Screen(DefaultTerminal);

impl Screen {
    fn take() -> Result<Self> {
        Ok(Self(ratatui::try_init().context("cannot use the terminal")?))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Shows the figures until the user quits.
pub(crate) async fn run(sources: &Sources, every: Duration) -> Result<()> {
    let mut board = Board::new(sources, every);
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Everything is in this task, so that no panic leaves the terminal as it is.
    let mut readings = pin!(stream::unfold(ticks, |mut ticks| async {
        ticks.tick().await;
        Some((sources.read().await, ticks))
    }));
    let mut end = pin!(terminated());
    let mut screen = Screen::take()?;
    let mut events = EventStream::new();
    loop {
        screen.0.draw(|frame| view::draw(&board, frame))?;
        tokio::select! {
            biased;
            () = &mut end => return Ok(()),
            event = events.next() => match event.transpose()? {
                Some(event) if !is_end(&event) => {}
                // Or the terminal has gone.
                _ => return Ok(()),
            },
            Some(reading) = readings.next() => board.update(reading, Instant::now()),
        }
    }
}

fn is_end(event: &Event) -> bool {
    let Event::Key(KeyEvent {
        code,
        modifiers,
        kind: KeyEventKind::Press,
        ..
    }) = event
    else {
        return false;
    };
    match code {
        KeyCode::Char('q') | KeyCode::Esc => true,
        KeyCode::Char('c') => modifiers.contains(KeyModifiers::CONTROL),
        _ => false,
    }
}

/// Ends when the process is told to.
#[cfg(unix)]
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};

    let (terminate, hang_up) = (signal(SignalKind::terminate()), signal(SignalKind::hangup()));
    if let (Ok(mut terminate), Ok(mut hang_up)) = (terminate, hang_up) {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    } else {
        // Without handlers, the signals end the process.
        std::future::pending().await
    }
}

#[cfg(not(unix))]
async fn terminated() {
    std::future::pending().await
}

#[cfg(all(test, unix))]
#[path = "../tests/support/pty.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "a harness of tests, of which this uses a part"
)]
mod pty;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "runs in a terminal of its own, see below"]
    fn panics_on_the_screen() {
        let _screen = Screen::take().unwrap();
        panic!("planted");
    }

    #[cfg(unix)]
    #[test]
    fn a_panic_gives_the_terminal_back_before_it_is_told() {
        let mut itself = std::process::Command::new(std::env::current_exe().unwrap());
        itself.args([
            "--ignored",
            "--exact",
            "--nocapture",
            "top::tests::panics_on_the_screen",
        ]);
        let mut terminal = pty::Terminal::run(&mut itself, 80, 24);
        terminal.wait_for("\u{1b}[?1049h");
        terminal.wait_for("\u{1b}[?1049l");
        terminal.wait_for("planted");
        assert!(!terminal.end().success());
        terminal.is_restored();
    }

    #[test]
    fn q_escape_and_control_c_quit() {
        let key = |code, modifiers| Event::Key(KeyEvent::new(code, modifiers));
        let (plain, control) = (KeyModifiers::NONE, KeyModifiers::CONTROL);
        for (code, modifiers) in [
            (KeyCode::Char('q'), plain),
            (KeyCode::Esc, plain),
            (KeyCode::Char('c'), control),
        ] {
            assert!(is_end(&key(code, modifiers)));
        }
        assert!(!is_end(&key(KeyCode::Char('c'), plain)));
        assert!(!is_end(&Event::Resize(80, 24)));
    }
}
