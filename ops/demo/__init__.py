"""The demo: three pump stations with wet wells, drives and controllers, their database, and a stand-in
optimiser.
"""
