//! A client that opens streams and leaves them open.

use std::io::Write as _;

use crate::{Failure, case, client::Client};

pub(crate) fn run(address: &str, streams: &str) -> Result<(), Failure> {
    let streams: usize = streams.parse()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let request = case::request(address, "?events=1&hold=1", &case::body("my-gpt4", 1024, true));
        let mut open = Vec::with_capacity(streams);
        for _ in 0..streams {
            let mut client = Client::connect(address).await?;
            client.send(&request).await?;
            open.push(client);
        }
        println!("open");
        std::io::stdout().flush()?;
        // Until the other end has measured.
        std::io::read_to_string(std::io::stdin())?;
        Ok(())
    })
}
