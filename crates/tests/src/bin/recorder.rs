//! Writers that record what they do: `recorder ADDRESS LOG NAME SEED`. The kill and stop tests start it.

use std::path::Path;
use std::process::ExitCode;

use dovetail_tests::load::record_mixed_load;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match &arguments[..] {
        [address, log, name, seed] => match (address.parse(), seed.parse()) {
            (Ok(address), Ok(seed)) => {
                record_mixed_load(address, Path::new(log), name, seed).map_err(|error| error.to_string())
            }
            _ => Err(format!("no address and seed: {address} {seed}")),
        },
        _ => Err(String::from("usage: recorder ADDRESS LOG NAME SEED")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the test that started it shows it")]
            {
                eprintln!("{error}");
            }
            ExitCode::FAILURE
        }
    }
}
