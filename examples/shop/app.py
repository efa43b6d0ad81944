"""A shop's program: products from PostgreSQL, visits in Redis. Both are found by name, on their usual ports."""

import html
import os
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg2
import redis

PRODUCTS = [("Sencha", 12), ("Matcha", 25), ("Hojicha", 9)]


def prepare():
    with psycopg2.connect(host="db") as database, database.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS products (name text PRIMARY KEY, price integer NOT NULL)")
        cursor.executemany("INSERT INTO products VALUES (%s, %s) ON CONFLICT DO NOTHING", PRODUCTS)


def page():
    visits = redis.Redis(host="cache").incr("visits")
    with psycopg2.connect(host="db") as database, database.cursor() as cursor:
        cursor.execute("SELECT name, price FROM products ORDER BY name")
        rows = "".join(f"<li>{html.escape(name)}: {price}</li>" for name, price in cursor.fetchall())
    return f"<!doctype html><title>Shop</title><h1>Tea</h1><ul>{rows}</ul><p>visit {visits}</p>\n"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/":
            self.send_error(404)
            return
        body = page().encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6  # takes IPv4 too


prepare()
Server(("", int(os.environ["PORT"])), Handler).serve_forever()
