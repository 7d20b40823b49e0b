"""What watches the service: Prometheus, its alerts, and their pages."""
