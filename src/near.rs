//! Which known names a misspelt one is near to.

/// The nearest of the names, the best first: at most three, and none that shares too little.
pub(crate) fn near<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
    let wanted = name.to_lowercase();
    let mut ranked: Vec<(f64, &str)> = known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= 0.82)
        .collect();
    ranked.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    ranked.dedup_by(|(_, a), (_, b)| a.eq_ignore_ascii_case(b));
    // One that is all but the same leaves no doubt.
    let enough = if ranked.first().is_some_and(|(likeness, _)| *likeness >= 0.93) { 1 } else { 3 };
    ranked.truncate(enough);
    ranked.into_iter().map(|(_, candidate)| candidate).collect()
}
