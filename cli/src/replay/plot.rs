//! Draws hit ratios against the capacity, as SVG.

use anyhow::{Result, anyhow};
use plotters::prelude::{
    BindKeyPoints, ChartBuilder, IntoDrawingArea, IntoLogRange, LineSeries, PathElement, RGBColor,
    SVGBackend, SeriesLabelPosition, WHITE,
};

use super::Point;
use crate::units;

const SIZE: (u32, u32) = (840, 480);
/// How many capacities have room for their labels.
const LABELS: f64 = 10.0;
const FONT: &str = "sans-serif";
const OURS: RGBColor = RGBColor(9, 105, 218);
const LRU: RGBColor = RGBColor(188, 76, 0);
const BEST: RGBColor = RGBColor(26, 127, 55);
const GRID: RGBColor = RGBColor(209, 217, 224);

/// Which ratio of a point.
type Ratio = fn(&Point) -> f64;

/// The picture of a trace. `best` is what the best points are called.
pub(crate) fn draw(trace: &str, best: &str, points: &[Point]) -> Result<String> {
    let mut svg = String::new();
    fill(&mut svg, trace, best, points).map_err(|error| anyhow!("cannot draw: {error}"))?;
    Ok(svg)
}

fn fill(
    svg: &mut String,
    trace: &str,
    best: &str,
    points: &[Point],
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    // Room beside the outermost points, and a range although there may be one point only.
    let capacities = || points.iter().map(|point| point.capacity_bytes as f64);
    let (least, most) = capacities().fold((f64::MAX, 1.0_f64), |(least, most), c| {
        (least.min(c), most.max(c))
    });
    let range = (least.min(most) / 1.2..most * 1.2).log_scale();
    let range = range.with_key_points(labelled(capacities(), most / least));
    let mut chart = ChartBuilder::on(&area)
        .caption(format!("Hit ratio by capacity: {trace}"), (FONT, 20))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(range, 0.0..100.0)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style((FONT, 14))
        .x_desc("capacity")
        .x_label_formatter(&|bytes| units::bytes(*bytes as u64))
        .y_desc("hits, % of accesses")
        .y_label_formatter(&|percent| format!("{percent:.0}"))
        .draw()?;
    let series: [(&str, RGBColor, Ratio); 3] = [
        (best, BEST, |point| point.best),
        ("cachestore", OURS, |point| point.cachestore),
        ("LRU", LRU, |point| point.lru),
    ];
    for (name, colour, ratio) in series {
        let line = || {
            points
                .iter()
                .map(|point| (point.capacity_bytes as f64, ratio(point)))
        };
        let drawn = chart.draw_series(LineSeries::new(line(), colour).point_size(3))?;
        drawn
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .margin(16)
        .background_style(WHITE)
        .border_style(GRID)
        .label_font((FONT, 15))
        .draw()?;
    area.present()?;
    Ok(())
}

/// The capacities whose labels have room beside each other. They come the smallest first.
fn labelled(capacities: impl Iterator<Item = f64>, spread: f64) -> Vec<f64> {
    let step = spread.powf(1.0 / LABELS);
    let mut last: Option<f64> = None;
    let has_room = |capacity: &f64| {
        let has_room = last.is_none_or(|last| *capacity >= last * step);
        if has_room {
            last = Some(*capacity);
        }
        has_room
    };
    capacities.filter(has_room).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_overlap() {
        assert_eq!(
            labelled([1.0, 2.0, 50.0, 51.0, 100.0].into_iter(), 100.0),
            [1.0, 2.0, 50.0, 100.0]
        );
        assert_eq!(labelled([7.0].into_iter(), 1.0), [7.0]);
    }
}
