//! From a preset's exchange and the block `oauth.exchange` to the exchange that is used.

use http::Uri;

use super::{
    Exchange,
    backend::{decode_auth, decode_headers},
    decode::Cursor,
    fields::Fields,
    login::{decode_expiry, field_pointer, secure_url, usual_expiry},
    node::Value,
};
use crate::provider::presets::{AuthForm, LoginExchange};

impl Exchange {
    pub(super) fn from_preset(preset: &'static LoginExchange) -> Self {
        Self {
            auth: preset.auth.clone(),
            access: preset.access.to_owned(),
            endpoint: preset.endpoint.map(str::to_owned),
            expiry: usual_expiry(preset.expiry),
            ..Self::new(Uri::from_static(preset.url))
        }
    }

    /// Reads `exchange`: the preset's with what is different, or one of its own. `false` is none.
    pub(super) fn decode(at: Cursor<'_>, preset: Option<&'static LoginExchange>) -> Option<Self> {
        if let Value::Bool(false) = at.node.value {
            return None;
        }
        let mut fields = Fields::of(at)?;
        let url = fields.optional("url", secure_url);
        let mut exchange = match (url, preset) {
            (url, Some(preset)) => {
                let usual = Self::from_preset(preset);
                Self { url: url.unwrap_or(usual.url.clone()), ..usual }
            }
            (Some(url), None) => Self::new(url),
            (None, None) => {
                // One that is there and wrong has been told of. The rest of the block may have mistakes too.
                if !at.has("url") {
                    fields.missing::<()>("url");
                }
                Self::new(Uri::default())
            }
        };
        if let Some(auth) = fields.take("auth").filter(|auth| !auth.node.is_null()) {
            match decode_auth(auth) {
                Some(AuthForm::None) => auth.report(auth.error("an exchange has to send the login's token")),
                form => exchange.auth = form.unwrap_or(exchange.auth),
            }
        }
        fields.optional("fields", |pointers| exchange.decode_pointers(pointers));
        let usual = preset.and_then(|preset| preset.expiry);
        exchange.expiry = fields.optional("expiry", |expiry| decode_expiry(expiry, usual)).unwrap_or(exchange.expiry);
        exchange.headers = fields.optional("headers", |headers| decode_headers(headers, &[])).unwrap_or_default();
        fields.finish();
        Some(exchange)
    }

    fn decode_pointers(&mut self, at: Cursor<'_>) -> Option<()> {
        let mut fields = Fields::of(at)?;
        self.access = fields.optional("access", field_pointer).unwrap_or(std::mem::take(&mut self.access));
        self.endpoint = fields.optional("endpoint", field_pointer).or(self.endpoint.take());
        fields.finish();
        Some(())
    }
}
