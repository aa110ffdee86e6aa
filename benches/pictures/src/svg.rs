//! Drawing in SVG, once for all themes: colours are names that a theme gives values to.

use std::fmt::Write as _;

/// The width of every picture. READMEs are about as wide.
pub(crate) const WIDTH: f64 = 840.0;

/// The colours of one kind of page. Each picture brings its own background, so that it stays readable on a page
/// of the other kind.
#[derive(Debug)]
pub(crate) struct Theme {
    /// What the file's name has behind the picture's.
    pub(crate) suffix: &'static str,
    colours: [(Colour, &'static str); 13],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Page,
    Panel,
    Line,
    Text,
    Quiet,
    /// This library.
    Ours,
    /// What it is compared with.
    Peer,
    Second,
    Third,
    Fresh,
    Due,
    Stale,
    Late,
}

use Colour::{Due, Fresh, Late, Line, Ours, Page, Panel, Peer, Quiet, Second, Stale, Text, Third};

pub(crate) const THEMES: [Theme; 2] = [
    Theme {
        suffix: "",
        colours: [
            (Page, "#ffffff"),
            (Panel, "#f6f8fa"),
            (Line, "#d1d9e0"),
            (Text, "#1f2328"),
            (Quiet, "#59636e"),
            (Ours, "#0969da"),
            (Peer, "#9aa4af"),
            (Second, "#bc4c00"),
            (Third, "#1a7f37"),
            (Fresh, "#aceebb"),
            (Due, "#d2f5c9"),
            (Stale, "#fae17d"),
            (Late, "#ffc680"),
        ],
    },
    Theme {
        suffix: "-dark",
        colours: [
            (Page, "#0d1117"),
            (Panel, "#151b23"),
            (Line, "#3d444d"),
            (Text, "#f0f6fc"),
            (Quiet, "#9198a1"),
            (Ours, "#4493f8"),
            (Peer, "#848d97"),
            (Second, "#f0883e"),
            (Third, "#3fb950"),
            (Fresh, "#196c2e"),
            (Due, "#0f5323"),
            (Stale, "#845306"),
            (Late, "#8a3a0c"),
        ],
    },
];

impl Theme {
    fn value(&self, colour: Colour) -> &'static str {
        let found = self.colours.iter().find(|(name, _)| *name == colour);
        found.map_or("none", |(_, value)| value)
    }
}

/// Where a text stands beside its point.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Font {
    pub(crate) size: f64,
    pub(crate) bold: bool,
    pub(crate) colour: Colour,
}

impl Font {
    pub(crate) const TITLE: Self = Self::of(21.0, true, Text);
    pub(crate) const HEAD: Self = Self::of(15.0, true, Text);
    pub(crate) const BODY: Self = Self::of(14.0, false, Text);
    pub(crate) const QUIET: Self = Self::of(13.0, false, Quiet);
    pub(crate) const STRONG: Self = Self::of(14.0, true, Ours);

    pub(crate) const fn of(size: f64, bold: bool, colour: Colour) -> Self {
        Self { size, bold, colour }
    }
}

#[derive(Debug)]
enum Shape {
    Rect {
        at: [f64; 4],
        fill: Colour,
        stroke: Option<Colour>,
    },
    Line {
        points: Vec<(f64, f64)>,
        colour: Colour,
        width: f64,
        dashes: &'static str,
        arrow: bool,
    },
    Dot {
        at: (f64, f64),
        radius: f64,
        colour: Colour,
    },
    Text {
        at: (f64, f64),
        anchor: Anchor,
        font: Font,
        text: String,
    },
}

/// Shapes, in the order in which they are drawn.
#[derive(Debug)]
pub(crate) struct Picture {
    title: String,
    description: String,
    height: f64,
    shapes: Vec<Shape>,
}

impl Picture {
    /// An empty picture with a title. The description is for those who cannot see it.
    pub(crate) fn new(title: &str, description: String, height: f64) -> Self {
        let mut picture = Self {
            title: title.to_owned(),
            description,
            height,
            shapes: Vec::new(),
        };
        picture.text((24.0, 38.0), Anchor::Start, Font::TITLE, title);
        picture
    }

    pub(crate) fn text(&mut self, at: (f64, f64), anchor: Anchor, font: Font, text: &str) {
        self.shapes.push(Shape::Text {
            at,
            anchor,
            font,
            text: text.to_owned(),
        });
    }

    /// A rectangle: left, top, width, height.
    pub(crate) fn rect(&mut self, at: [f64; 4], fill: Colour, stroke: Option<Colour>) {
        self.shapes.push(Shape::Rect { at, fill, stroke });
    }

    pub(crate) fn line(&mut self, points: &[(f64, f64)], colour: Colour, width: f64, dashes: &'static str) {
        self.shapes.push(Shape::Line {
            points: points.to_vec(),
            colour,
            width,
            dashes,
            arrow: false,
        });
    }

    pub(crate) fn arrow(&mut self, points: &[(f64, f64)], colour: Colour) {
        self.shapes.push(Shape::Line {
            points: points.to_vec(),
            colour,
            width: 1.8,
            dashes: "",
            arrow: true,
        });
    }

    pub(crate) fn dot(&mut self, at: (f64, f64), radius: f64, colour: Colour) {
        self.shapes.push(Shape::Dot { at, radius, colour });
    }

    /// Quiet lines at the bottom.
    pub(crate) fn notes(&mut self, lines: &[&str]) {
        for (row, line) in lines.iter().rev().enumerate() {
            let y = self.height - 20.0 - 19.0 * row as f64;
            self.text((24.0, y), Anchor::Start, Font::QUIET, line);
        }
    }

    pub(crate) fn in_theme(&self, theme: &Theme) -> String {
        let Self {
            title,
            description,
            height,
            shapes,
        } = self;
        let mut svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" font-family="system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', Helvetica, Arial, sans-serif">
<title>{}</title>
<desc>{}</desc>
<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="{}"/></marker></defs>
<rect x="0.5" y="0.5" width="{}" height="{}" rx="10" fill="{}" stroke="{}"/>
"#,
            escaped(title),
            escaped(description),
            theme.value(Quiet),
            WIDTH - 1.0,
            height - 1.0,
            theme.value(Page),
            theme.value(Line),
        );
        for shape in shapes {
            shape.write(&mut svg, theme);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

impl Shape {
    fn write(&self, svg: &mut String, theme: &Theme) {
        // Writing to a string does not fail.
        let _ = match self {
            Self::Rect {
                at: [x, y, width, height],
                fill,
                stroke,
            } => {
                let stroke = stroke.map_or("none", |stroke| theme.value(stroke));
                let fill = theme.value(*fill);
                writeln!(
                    svg,
                    r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="3" fill="{fill}" stroke="{stroke}"/>"#
                )
            }
            Self::Line {
                points,
                colour,
                width,
                dashes,
                arrow,
            } => {
                let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                let (points, colour) = (points.join(" "), theme.value(*colour));
                let dashes = if dashes.is_empty() {
                    String::new()
                } else {
                    format!(r#" stroke-dasharray="{dashes}""#)
                };
                let arrow = if *arrow {
                    r#" marker-end="url(#arrow)""#
                } else {
                    ""
                };
                writeln!(
                    svg,
                    r#"<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"{dashes}{arrow}/>"#
                )
            }
            Self::Dot {
                at: (x, y),
                radius,
                colour,
            } => {
                writeln!(
                    svg,
                    r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" fill="{}"/>"#,
                    theme.value(*colour)
                )
            }
            Self::Text {
                at: (x, y),
                anchor,
                font,
                text,
            } => {
                let anchor = match anchor {
                    Anchor::Start => "start",
                    Anchor::Middle => "middle",
                    Anchor::End => "end",
                };
                let Font { size, bold, colour } = font;
                let weight = if *bold { r#" font-weight="600""# } else { "" };
                let (colour, text) = (theme.value(*colour), escaped(text));
                writeln!(
                    svg,
                    r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}"{weight} fill="{colour}">{text}</text>"#
                )
            }
        };
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
