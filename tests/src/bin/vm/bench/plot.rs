// SPDX-License-Identifier: GPL-2.0-only
//! Plots the results as SVG: a dot for each row and scheduler, a line for its spread, a tick
//! for the target.

use std::fmt::{Display, Write};

use scx_preload_tests::bench::{Better, EEVDF, Row, SIMPLE, Target};

use super::results::{Boot, Results, Summary};
use super::tables::number;

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 970.0;
const FONT: f64 = 13.0;
/// Average width of a character.
const CHAR: f64 = 7.2;
/// Limits of a logarithmic axis, so that an outlier does not squeeze the other values.
const MIN: f64 = 0.1;
const MAX: f64 = 10.0;
/// Distance between the dots of a row, which may have figures beside them.
const STEP: f64 = 11.0;
const SMALL: f64 = 10.0;

/// Distinguishable with color blindness (after Okabe and Ito).
const COLOURS: &[&str] = &[
    "#999999", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000",
    "#8c510a", "#5e3c99",
];

pub fn svg(results: &Results) -> String {
    let mut page = Page {
        schedulers: &results.schedulers,
        body: String::new(),
        y: 30.0,
    };
    page.text(10.0, 18.0, "start", "bold", "Schedulers compared");
    page.y += 22.0;
    let about = format!(
        "{}, commit {}, Linux {}, mode {}",
        results.date, results.commit, results.kernel, results.mode
    );
    page.text(10.0, FONT, "start", "normal", &about);
    page.legend();
    for boot in &results.boots {
        page.y += 40.0;
        let title = format!("{}: {} CPUs", boot.machine, boot.cpus);
        page.text(10.0, 15.0, "start", "bold", &title);
        for panel in PANELS {
            page.panel(boot, panel);
        }
    }
    page.finish()
}

/// Rows that share an axis.
struct Panel {
    title: &'static str,
    log: bool,
    has: fn(&Row) -> bool,
    /// The value that is plotted as 1.
    unit: fn(&Boot, &Row) -> Option<f64>,
}

const PANELS: &[Panel] = &[
    Panel {
        title: "ratio to EEVDF, less is better",
        log: true,
        has: |row| row.is_ratio,
        unit: |boot, row| Some(boot.summary(row.name, EEVDF)?.median),
    },
    Panel {
        title: "shares: ↑ more is better, ↓ less is better",
        log: false,
        has: |row| !row.is_ratio && row.unit.is_empty(),
        unit: |_, _| Some(1.0),
    },
    Panel {
        title: "ratio to the target, less is better",
        log: true,
        has: |row| !row.is_ratio && !row.unit.is_empty(),
        unit: |boot, row| limit(boot, row),
    },
];

/// The target as a value of the row.
fn limit(boot: &Boot, row: &Row) -> Option<f64> {
    let of = |factor: f64, scheduler| Some(factor * boot.summary(row.name, scheduler)?.median);
    match row.target {
        Target::Open => None,
        Target::Value(limit) => Some(limit),
        Target::Ratio(factor) => of(factor, EEVDF),
        Target::OfSimple(factor) => of(factor, SIMPLE),
    }
}

/// One dot, in units of the panel.
struct Dot {
    scheduler: usize,
    at: f64,
    spread: f64,
}

/// Maps values to x coordinates.
struct Axis {
    log: bool,
    from: f64,
    to: f64,
}

impl Axis {
    fn of(panel: &Panel, values: impl Iterator<Item = f64>) -> Self {
        if !panel.log {
            return Axis {
                log: false,
                from: 0.0,
                to: 1.0,
            };
        }
        let (mut from, mut to): (f64, f64) = (0.8, 1.25);
        for value in values.filter(|v| *v > 0.0) {
            from = from.min(value / 1.1);
            to = to.max(value * 1.1);
        }
        Axis {
            log: true,
            from: from.max(MIN),
            to: to.min(MAX),
        }
    }

    /// Values beyond a limit are plotted at the limit.
    fn x(&self, value: f64) -> f64 {
        let part = if self.log {
            (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        LEFT + part.clamp(0.0, 1.0) * (RIGHT - LEFT)
    }

    fn ticks(&self) -> Vec<f64> {
        if !self.log {
            return (0..=10).map(|n| f64::from(n) / 10.0).collect();
        }
        let steps: &[f64] = match self.to / self.from {
            r if r < 3.0 => &[1.0, 1.1, 1.25, 1.5, 1.75, 2.0, 2.5, 5.0, 7.0, 8.0, 9.0],
            r if r < 30.0 => &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
            _ => &[1.0, 2.0, 5.0],
        };
        let decades = (-4..6).map(|n| 10f64.powi(n));
        decades
            .flat_map(|decade| steps.iter().map(move |step| step * decade))
            .filter(|tick| (self.from..=self.to).contains(tick))
            .collect()
    }
}

/// The SVG being written.
struct Page<'a> {
    schedulers: &'a [String],
    body: String,
    /// Position of the next element.
    y: f64,
}

impl Page<'_> {
    fn panel(&mut self, boot: &Boot, panel: &Panel) {
        let mut rows = Vec::new();
        for row in boot.rows().filter(|row| (panel.has)(row)) {
            let Some(unit) = (panel.unit)(boot, row).filter(|unit| *unit > 0.0) else {
                continue;
            };
            let dots = self.dots(boot, row, unit);
            if !dots.is_empty() {
                rows.push((row, dots, limit(boot, row).map(|limit| limit / unit)));
            }
        }
        if rows.is_empty() {
            return;
        }
        let values = rows
            .iter()
            .flat_map(|(_, dots, limit)| dots.iter().map(|dot| dot.at).chain(*limit));
        let axis = Axis::of(panel, values);
        self.y += 30.0;
        self.text(LEFT, FONT, "start", "bold", panel.title);
        self.y += 10.0;
        let top = self.y;
        let body = std::mem::take(&mut self.body);
        for (row, dots, limit) in &rows {
            self.row(row, dots, *limit, &axis);
        }
        // The grid goes under the dots.
        let dots = std::mem::replace(&mut self.body, body);
        self.grid(&axis, top);
        self.body.push_str(&dots);
    }

    fn dots(&self, boot: &Boot, row: &Row, unit: f64) -> Vec<Dot> {
        let dot = |(n, scheduler): (usize, &String)| {
            let Summary { median, spread, .. } = boot.summary(row.name, scheduler)?;
            Some(Dot {
                scheduler: n,
                at: median / unit,
                spread: spread * median / unit,
            })
        };
        self.schedulers.iter().enumerate().filter_map(dot).collect()
    }

    fn row(&mut self, row: &Row, dots: &[Dot], limit: Option<f64>, axis: &Axis) {
        let top = self.y;
        let height = STEP * dots.len() as f64 + 10.0;
        let arrow = match row.better {
            Better::Less => "↓",
            Better::More => "↑",
        };
        self.y = top + height / 2.0 + FONT / 3.0;
        self.text(
            LEFT - 10.0,
            FONT,
            "end",
            "normal",
            &format!("{} {arrow}", row.name),
        );
        self.y = top + height;
        self.line(10.0, self.y, RIGHT, self.y, "#dddddd", 1.0);
        if let Some(limit) = limit {
            let x = axis.x(limit);
            self.line(x, top + 2.0, x, self.y - 2.0, "#d00000", 1.5);
        }
        for (n, dot) in dots.iter().enumerate() {
            let y = top + 5.0 + STEP * (n as f64 + 0.5);
            let colour = colour(dot.scheduler);
            let ends = [dot.at - dot.spread / 2.0, dot.at + dot.spread / 2.0].map(|v| axis.x(v));
            self.line(ends[0], y, ends[1], y, colour, 2.0);
            let title = format!(
                "{}, {}: {:.3}",
                row.name, self.schedulers[dot.scheduler], dot.at
            );
            let _ = writeln!(
                self.body,
                "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"><title>{}</title></circle>",
                axis.x(dot.at),
                escape(&title)
            );
            self.far(dot.at, y, axis);
        }
    }

    /// Prints the value of a dot that is beyond a limit of the axis.
    fn far(&mut self, value: f64, y: f64, axis: &Axis) {
        /// Width of a dot.
        const NEAR: f64 = 1.01;
        let (anchor, off) = match value {
            v if v > axis.to * NEAR => ("end", -8.0),
            v if v < axis.from / NEAR => ("start", 8.0),
            _ => return,
        };
        let end = std::mem::replace(&mut self.y, y + 3.5);
        self.text(axis.x(value) + off, SMALL, anchor, "normal", &number(value));
        self.y = end;
    }

    fn grid(&mut self, axis: &Axis, top: f64) {
        let bottom = self.y;
        self.y += FONT + 4.0;
        let mut last = 0.0;
        for tick in axis.ticks() {
            let x = axis.x(tick);
            let is_one = axis.log && tick == 1.0;
            let (colour, width) = if is_one {
                ("#666666", 1.5)
            } else {
                ("#e8e8e8", 1.0)
            };
            self.line(x, top, x, bottom, colour, width);
            // Skip labels that would touch.
            if x - last > 40.0 || is_one {
                self.text(x, 11.0, "middle", "normal", &short(tick));
                last = x;
            }
        }
    }

    fn legend(&mut self) {
        self.y += 24.0;
        let mut x = 10.0;
        let entries = self.schedulers.iter().enumerate();
        let entries = entries.map(|(n, name)| (Some(colour(n)), name.clone()));
        for (colour, name) in entries.chain([(None, "target".to_string())]) {
            let width = 24.0 + CHAR * name.chars().count() as f64 + 16.0;
            if x > 10.0 && x + width > WIDTH {
                x = 10.0;
                self.y += 20.0;
            }
            let y = self.y - 4.0;
            match colour {
                Some(colour) => {
                    let _ = writeln!(
                        self.body,
                        "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{colour}\"/>",
                        x + 7.0
                    );
                }
                None => self.line(x + 7.0, y - 7.0, x + 7.0, y + 7.0, "#d00000", 1.5),
            }
            self.text(x + 18.0, FONT, "start", "normal", &name);
            x += width;
        }
    }

    fn text(&mut self, x: f64, size: f64, anchor: &str, weight: &str, what: &str) {
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"{size}\" text-anchor=\"{anchor}\" \
             font-weight=\"{weight}\">{}</text>",
            self.y,
            escape(what)
        );
    }

    fn line(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, colour: &str, width: f64) {
        let _ = writeln!(
            self.body,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" \
             stroke=\"{colour}\" stroke-width=\"{width}\"/>"
        );
    }

    fn finish(self) -> String {
        let height = self.y + 20.0;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {WIDTH} {height:.0}\" font-family=\"sans-serif\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}</svg>\n",
            self.body
        )
    }
}

/// At most three decimals.
fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').into()
}

fn colour(scheduler: usize) -> &'static str {
    COLOURS[scheduler % COLOURS.len()]
}

fn escape(text: impl Display) -> String {
    let text = text.to_string();
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::example;
    use super::*;

    #[test]
    fn shape() {
        let mut results = example();
        results.commit = "a<b".into();
        let svg = svg(&results);
        // The legend, and the rows ping_pong, odd_fair and bpf_ms_5000.
        assert_eq!(svg.matches("<circle").count(), 2 + 2 + 1 + 1);
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        assert!(svg.contains("a&lt;b") && !svg.contains("a<b"));
        assert!(svg.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn an_axis_shows_all() {
        let axis = Axis::of(&PANELS[0], [0.2, 5.0].into_iter());
        assert!(axis.x(0.2) > LEFT && axis.x(5.0) < RIGHT);
        assert_eq!(axis.x(1e9), RIGHT);
        assert!(axis.ticks().contains(&1.0));
    }
}
