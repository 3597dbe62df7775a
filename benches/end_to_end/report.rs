use std::{fs, path::Path};

use serde_json::{Map, Value, json};

use crate::Failure;

/// Figures of several servers beside each other, each with its ratio to the first.
#[derive(Debug, Default)]
pub(crate) struct Report {
    parts: Map<String, Value>,
}

/// One line of a table: a server, and a figure for each column.
pub(crate) type Row = (&'static str, Vec<f64>);

impl Report {
    /// Prints a table and keeps its figures. The ratios are to the first row.
    pub(crate) fn table(&mut self, name: &str, title: &str, columns: &[&str], rows: &[Row]) {
        println!("\n{name}: {title}");
        print!("{:<24}", "");
        for column in columns {
            print!("{column:>24}");
        }
        println!();
        let mut part = Map::new();
        for (server, figures) in rows {
            print!("{server:<24}");
            let mut entry = Map::new();
            for (index, figure) in figures.iter().enumerate() {
                let ratio = figure / rows[0].1[index];
                print!("{:>17} {:>6}", short(*figure), format!("{ratio:.2}x"));
                entry.insert(columns[index].to_owned(), json!({"value": figure, "ratio": ratio}));
            }
            println!();
            part.insert((*server).to_owned(), entry.into());
        }
        self.parts.insert(name.to_owned(), json!({"title": title, "figures": part}));
    }

    /// Writes all of it.
    pub(crate) fn write(self, path: &Path) -> Result<(), Failure> {
        fs::write(path, serde_json::to_string_pretty(&Value::from(self.parts))?)?;
        println!("\nThe figures are in {} as JSON.", path.display());
        Ok(())
    }
}

fn short(figure: f64) -> String {
    if figure < 100.0 { format!("{figure:.2}") } else { format!("{figure:.0}") }
}

/// The middle one of some figures.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
