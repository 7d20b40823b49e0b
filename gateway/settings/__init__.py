"""The settings of the service: read once, from the environment and `.env` files."""

from gateway.paths import ROOT as ROOT
from gateway.settings.loading import given as given
from gateway.settings.loading import load as load
from gateway.settings.settings import Settings as Settings
from gateway.settings.sources import SettingsError as SettingsError
from gateway.settings.table import table as table
