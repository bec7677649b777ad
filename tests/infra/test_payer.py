"""The sandbox payer answers by its own book, acts out every scripted case, and its files stand up to others."""

import csv
import io
import subprocess
import sys
import time
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import oxedi
import polars as pl
import pytest
from bai2 import bai2

from edi.check import check_with_pyx12
from edi.reader import Reading, read_x12
from infra.sandbox.payer import Answered, answer, main
from infra.sandbox.payer_book import NotPayable, unit_fee
from infra.sandbox.payer_cases import BadScript, cases
