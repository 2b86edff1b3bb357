"""The use case ``flight_delay``: will tomorrow's flight from New York arrive late?"""
