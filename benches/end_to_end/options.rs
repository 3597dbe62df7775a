use std::path::PathBuf;

use crate::Failure;

const HELP: &str = "\
cargo bench --bench end_to_end -- [OPTIONS]
  --only WORD      only the parts whose name has WORD in it (small, large, stream, instructions, paced, idle, routes, ...)
  --rounds N       rounds under load, each with every server in turn [5]
  --json FILE      where the figures go as JSON [target/end_to_end.json]
  --profiles DIR   keep callgrind's profiles there, for callgrind_annotate";

/// What to measure, from the command line.
#[derive(Debug)]
pub(crate) struct Options {
    only: Option<String>,
    pub(crate) rounds: usize,
    pub(crate) json: PathBuf,
    pub(crate) profiles: Option<PathBuf>,
}

impl Options {
    pub(crate) fn read(arguments: &[&str]) -> Result<Self, Failure> {
        let json = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("end_to_end.json");
        let mut options = Self { only: None, rounds: 5, json, profiles: None };
        let mut arguments = arguments.iter().filter(|argument| **argument != "--bench");
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or(HELP);
            match *name {
                "--only" => options.only = Some((*value()?).to_owned()),
                "--rounds" => options.rounds = value()?.parse()?,
                "--json" => options.json = value()?.into(),
                "--profiles" => options.profiles = Some(value()?.into()),
                _ => return Err(HELP.into()),
            }
        }
        Ok(options)
    }

    /// Whether the part of this name is asked for.
    pub(crate) fn wants(&self, part: &str) -> bool {
        self.only.as_ref().is_none_or(|only| part.contains(only.as_str()))
    }
}
