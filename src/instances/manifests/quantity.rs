//! Quantities as the API server writes them: an applied object that reads `1000m` where the server keeps `1` would look
//! changed to whoever compares.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

pub fn cpu(milli: u64) -> Quantity {
    Quantity(if milli.is_multiple_of(1000) {
        (milli / 1000).to_string()
    } else {
        format!("{milli}m")
    })
}

pub fn memory(mib: u64) -> Quantity {
    const GIB: u64 = 1024;
    const TIB: u64 = 1024 * GIB;
    Quantity(match mib {
        0 => "0".to_owned(),
        mib if mib.is_multiple_of(TIB) => format!("{}Ti", mib / TIB),
        mib if mib.is_multiple_of(GIB) => format!("{}Gi", mib / GIB),
        mib => format!("{mib}Mi"),
    })
}

pub fn count(number: u64) -> Quantity {
    Quantity(number.to_string())
}

#[cfg(test)]
mod tests {
    use super::{cpu, memory};

    #[test]
    fn quantities_are_canonical() {
        assert_eq!(
            [0, 250, 1000, 1500].map(|milli| cpu(milli).0),
            ["0", "250m", "1", "1500m"]
        );
        assert_eq!(
            [0, 512, 1024, 1536, 5120, 1_048_576].map(|mib| memory(mib).0),
            ["0", "512Mi", "1Gi", "1536Mi", "5Gi", "1Ti"]
        );
    }
}
