use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::{Value, json};

use crate::{
    machine::{ACCESS, Machine, REFRESH, fingerprint, granted, millis_from_now, server},
    support::Binary,
};

#[tokio::test]
async fn the_credentials_are_told_of_in_words() {
    let server = server([granted()]);
    let machine = Machine::new(&server);
    let path = machine.path();
    let display = path.display();
    let credentials = async || machine.says(&["credentials"]).await;
    assert_eq!(
        credentials().await,
        format!(
            "vendor\n  file:     {display}\n  token:    none\n  refresh:  not possible: there is no refresh token\n  \
             problem:  the credential file {display} does not exist; run `vendor login`"
        )
    );

    let token = format!("fingerprint {}", fingerprint());
    machine.write(&json!({
        "access_token": ACCESS, "refresh_token": REFRESH, "expiry_date": millis_from_now(11_550),
    }));
    let good = format!(
        "vendor\n  file:     {display} (mode 0600)\n  token:    {token}, expires in 3 h 12 min\n  \
         refresh:  on_demand: when the token has expired or is refused"
    );
    assert_eq!(credentials().await, good);
    assert_eq!(machine.says(&["credentials", "vendor"]).await, good);

    machine.write(&json!({"access_token": ACCESS, "expiry_date": millis_from_now(-330)}));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(
        credentials().await,
        format!(
            "vendor\n  file:     {display} (mode 0644)\n  token:    {token}, expired 5 min ago\n  \
             refresh:  not possible: there is no refresh token\n  \
             problem:  the token has expired and is not refreshed here; run `vendor login`\n  \
             problem:  others than its owner may open the file; run `chmod 600 {display}`"
        )
    );
    assert!(server.requests().is_empty(), "nothing is refreshed");

    machine.write(&json!({"access_token": ACCESS}));
    assert!(credentials().await.contains(&format!("{token}, does not say when it expires")));
    fs::write(&path, format!("{{\"access_token\": {ACCESS}}}")).unwrap();
    assert!(credentials().await.contains("is not JSON (line 1, column 18); run `vendor login`"));
}

#[tokio::test]
async fn the_credentials_are_told_of_as_json() {
    let server = server([granted()]);
    let machine = Machine::new(&server);
    machine.write(&json!({"access_token": ACCESS, "refresh_token": REFRESH, "expiry_date": 4_102_444_800_000_u64}));
    let json = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    assert_eq!(
        json(machine.says(&["credentials", "--json"]).await),
        json!([{
            "backend": "vendor", "path": machine.path(), "permissions": "0600", "fingerprint": fingerprint(),
            "expires_at": "2100-01-01T00:00:00Z", "expired": false, "mode": "on_demand", "refreshable": true, "exchange": null,
            "problems": [],
        }])
    );
    fs::remove_file(machine.path()).unwrap();
    let problem = format!("the credential file {} does not exist; run `vendor login`", machine.path().display());
    assert_eq!(
        json(machine.says(&["credentials", "vendor", "--json"]).await),
        json!([{
            "backend": "vendor", "path": machine.path(), "permissions": null, "fingerprint": null, "expires_at": null,
            "expired": null, "mode": "on_demand", "refreshable": false, "exchange": null, "problems": [problem],
        }])
    );
    let without = Binary::new(["credentials", "--json"]).file("config.yaml", "models: []\n").run().await;
    assert_eq!((json(without.stdout), without.status.success()), (json!([]), true));
}
