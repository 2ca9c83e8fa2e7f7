"""What happens to training images at random."""
