//! Times and files in words.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use pointsman_layers::oauth::CredentialStatus;

/// `2 d 3 h`, `3 h 12 min`, `5 min`, `42 s`: the two largest units, what is less cut off.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let first = units.iter().position(|(number, _)| *number > 0).unwrap_or(3);
    // Seconds beside minutes, or minutes beside days, are more than anybody wants to know.
    let shown = if first < 2 { first + 2 } else { first + 1 };
    let shown = units[first..shown].iter().filter(|(number, _)| *number > 0 || first == 3);
    shown.map(|(number, unit)| format!("{number} {unit}")).collect::<Vec<_>>().join(" ")
}

/// When a token expires: `expires in 3 h 12 min`, `expired 5 min ago`.
pub(super) fn expiry(status: &CredentialStatus, now: SystemTime) -> String {
    match status.expires_at.map(|expires| expires.duration_since(now)) {
        None => "does not say when it expires".into(),
        Some(Ok(left)) => format!("expires in {}", duration(left)),
        Some(Err(ago)) => format!("expired {} ago", duration(ago.duration())),
    }
}

/// The permissions of a file, as `chmod` takes them; `None` if there is no file.
pub(super) fn permissions(path: &Path) -> Option<u32> {
    Some(std::fs::metadata(path).ok()?.permissions().mode() & 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_told_in_two_units_at_most() {
        for (seconds, words) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (3600, "1 h"),
            (11_520, "3 h 12 min"),
            (86_399, "23 h 59 min"),
            (86_400, "1 d"),
            (100_000, "1 d 3 h"),
            (90_000_000, "1041 d 16 h"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), words);
        }
    }
}
