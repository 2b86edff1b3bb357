"""The use case ``repeat_purchase``: will a customer buy again within 90 days?"""
