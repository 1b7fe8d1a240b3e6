"""Packed weights of 4 to 8 bits, in the block layouts of GGUF: conversion, and products with them."""
