//! Credential files from the configuration, and the HTTP client that renews what is in them.

use pointsman_layers::oauth::{CredentialFile, CredentialFileOptions, OAuthLayer, RefreshGrant};

use crate::{
    config::{Grant, OAuth},
    provider::Client,
};

/// The file that `oauth` describes, or why it cannot be used.
pub(crate) fn credential_file(oauth: &OAuth, client: Client) -> Result<CredentialFile, String> {
    let mut options = CredentialFileOptions::new(&oauth.path)
        .access(&oauth.access)
        .refresh(&oauth.refresh)
        .expiry(oauth.expiry.clone())
        .mode(oauth.mode)
        .lock_stale(oauth.lock_stale)
        .allow_hosts(oauth.allow_hosts.iter().cloned())
        .remedy(&oauth.remedy);
    if let Some(endpoint) = &oauth.endpoint {
        options = options.endpoint(endpoint);
    }
    if let Some(lock) = &oauth.lock {
        options = options.lock(lock);
    }
    if let Some(grant) = &oauth.grant {
        options = options.grant(refresh_grant(grant)?);
    }
    Ok(CredentialFile::new(options, client))
}

fn refresh_grant(grant: &Grant) -> Result<RefreshGrant, String> {
    let refresh = RefreshGrant::new(grant.token_url.clone()).map_err(|error| error.to_string())?;
    let refresh = refresh.encoding(grant.encoding).client_id(&grant.client_id);
    Ok(grant.fields.iter().fold(refresh, |refresh, (name, value)| refresh.field(name, value)))
}

/// The layer that puts in the tokens of `file`, with the headers that go with them; without a file, one that passes
/// requests on.
pub(super) fn layer(oauth: Option<&OAuth>, file: Option<CredentialFile>) -> OAuthLayer<CredentialFile> {
    let layer = OAuthLayer::optional(file);
    let headers = oauth.map(|oauth| &oauth.headers).into_iter().flatten();
    headers.fold(layer, |layer, (name, value)| layer.header(name.clone(), value.clone()))
}
