"""From a picture to keyframes, from keyframes to clips, from clips to the film."""
