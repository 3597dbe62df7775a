use std::{
    error::Error,
    fmt::{self, Display, Formatter},
    path::{Path, PathBuf},
};

use super::{Config, Environment, ProcessEnvironment, interpolate::expand_home};

/// There is no configuration in any of the usual places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFound {
    places: Vec<PathBuf>,
}

impl NotFound {
    /// Where it was looked for, in order.
    pub fn places(&self) -> &[PathBuf] {
        &self.places
    }
}

impl Display for NotFound {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("no configuration was found; looked for")?;
        self.places.iter().try_for_each(|place| write!(f, "\n  {}", place.display()))
    }
}

impl Error for NotFound {}

impl Config {
    /// The configuration file of this user: the first that exists of `./config.yaml`,
    /// `$XDG_CONFIG_HOME/pointsman/config.yaml` (usually `~/.config/...`), `~/.config/g4f/cookies/config.yaml` and
    /// `./har_and_cookies/config.yaml`.
    ///
    /// # Errors
    ///
    /// If there is none; the error lists the places.
    pub fn discover() -> Result<PathBuf, NotFound> {
        Self::discover_in(Path::new("."), &ProcessEnvironment)
    }

    /// The same for another working directory and other variables (`HOME` and `XDG_CONFIG_HOME` count).
    ///
    /// # Errors
    ///
    /// If there is none; the error lists the places.
    pub fn discover_in(folder: &Path, environment: &dyn Environment) -> Result<PathBuf, NotFound> {
        // A relative one is to be ignored, says the XDG base directory specification.
        let xdg = environment.variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = environment.variable("HOME").is_some().then(|| expand_home("~/.config", environment, folder));
        let places: Vec<PathBuf> = [
            Some(folder.join("config.yaml")),
            xdg.or_else(|| home.clone()).map(|base| base.join("pointsman/config.yaml")),
            home.map(|base| base.join("g4f/cookies/config.yaml")),
            Some(folder.join("har_and_cookies/config.yaml")),
        ]
        .into_iter()
        .flatten()
        .collect();
        match places.iter().find(|place| place.is_file()) {
            Some(found) => Ok(found.clone()),
            None => Err(NotFound { places }),
        }
    }
}
