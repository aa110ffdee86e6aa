//! Draws the pictures of `docs/pictures/` from the runs in `benches/recorded/`.
//!
//! `cargo run -p pictures` writes them; `cargo run -p pictures -- --check` only compares, for CI.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that talks to its caller"
)]

mod architecture;
mod hit_ratio;
mod lock;
mod record;
mod speed;
mod svg;
mod value_age;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use record::Record;
use svg::{Picture, THEMES};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const USAGE: &str = "\
Usage: cargo run -p pictures [-- --check]

Draws docs/pictures/*.svg from the recorded runs in benches/recorded/.

  --check  write nothing, and fail if a picture differs from what would be drawn";

/// Every picture, by the name of its file.
fn draw() -> Result<Vec<(&'static str, Picture)>> {
    let [memory, redis, hits, memory_locks, redis_locks] =
        ["memory", "redis", "hit_ratio", "lock_memory", "lock_redis"].map(Record::read);
    Ok(vec![
        ("architecture", architecture::draw()),
        ("value-age", value_age::draw()),
        ("speed", speed::draw(&memory?, &redis?)?),
        ("hit-ratio", hit_ratio::draw(&hits?)?),
        ("lock-hand-off", lock::draw(&memory_locks?, &redis_locks?)?),
    ])
}

fn run(check: bool) -> Result<()> {
    let folder = project().join("docs/pictures");
    std::fs::create_dir_all(&folder)?;
    let mut outdated = Vec::new();
    for (name, picture) in draw()? {
        for theme in &THEMES {
            let path = folder.join(format!("{name}{}.svg", theme.suffix));
            let drawn = picture.in_theme(theme);
            if check {
                if std::fs::read_to_string(&path).ok().as_ref() != Some(&drawn) {
                    outdated.push(path.display().to_string());
                }
            } else {
                std::fs::write(&path, drawn)?;
                println!("{}", path.display());
            }
        }
    }
    if outdated.is_empty() {
        return Ok(());
    }
    let files = outdated.join("\n  ");
    Err(format!("out of date; draw them again with `cargo run -p pictures`:\n  {files}").into())
}

/// The project's folder.
fn project() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let check = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--check"] => true,
        ["--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("pictures: unknown arguments\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pictures: {error}");
            ExitCode::FAILURE
        }
    }
}
