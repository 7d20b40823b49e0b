"""What the service is set to: read once, from the environment and `.env` files."""

from gateway.paths import ROOT as ROOT
from gateway.settings.settings import Settings as Settings
from gateway.settings.settings import load as load
from gateway.settings.settings import table as table
from gateway.settings.sources import SettingsError as SettingsError
